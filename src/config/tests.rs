//! Whole files, right and wrong.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::{Judged, LogLevel, State};
use crate::blob::headers::AccessTier;
use crate::limits::MIB;
use crate::time::UtcMillis;

const EXAMPLE: &str = include_str!("../../board/cvr.json");

/// Every secret of this file holds the word `hidden`.
const FILE: &str = r#"{
  "gatewayName": "warehouse-3",
  "containerSasUrl": "https://account.blob.core.windows.net/recordings?sp=c&sig=hidden",
  "localMediaCachePath": "/media/data/cvr",
  "cameras": [
    {
      "name": "front-door",
      "rtspUrl": "rtsp://192.0.2.10/hidden",
      "rtspUserName": "hidden",
      "rtspPassword": "hidden",
      "segmentLength": "PT30S",
      "localMediaCacheMaximumSizeMiB": "2048"
    },
    {
      "name": "dock",
      "rtspUrl": "rtsp://hidden:hidden@192.0.2.11/",
      "localMediaCacheMaximumSizeMiB": "16"
    }
  ]
}
"#;

fn read(text: &str) -> Result<Judged, String> {
    super::read("cvr.json", text.as_bytes(), Path::new("/card")).map_err(|error| {
        let line = error.to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        for shown in [&line, &format!("{error:?}")] {
            assert!(!shown.contains("hidden"), "{shown}");
        }
        line
    })
}

/// The error of [`FILE`] with `from` replaced by `to` where it stands first.
fn error(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    match read(&FILE.replacen(from, to, 1)) {
        Err(line) => line,
        Ok(_) => panic!("{to} was taken"),
    }
}

fn assert_errors(table: &[(&str, &str, &str)]) {
    for (from, to, expected) in table {
        assert_eq!(error(from, to), format!("cvr.json:{expected}"), "{to}");
    }
}

#[test]
fn the_example_is_right() {
    let config = read(EXAMPLE).unwrap().config;
    assert_eq!(config.gateway_name, "warehouse-3");
    let [front, dock] = &config.cameras[..] else {
        panic!("{:?}", config.cameras);
    };
    assert_eq!(front.asset.resolve(UtcMillis(0)), "warehouse-3-front-door");
    assert_eq!(front.segment_length, Duration::from_secs(30));
    assert_eq!(front.ring_bytes, 2048 * MIB);
    assert_eq!(dock.asset.resolve(UtcMillis(0)), "dock-19700101T000000Z");
    assert_eq!(dock.segment_length, Duration::from_secs(60));
    assert_eq!(dock.ring_bytes, 4096 * MIB);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read(FILE).unwrap().config;
    assert_eq!(config.trusted_certificates_path, None);
    assert_eq!(config.upload_maximum_kbps, 0);
    assert_eq!(config.status_path, PathBuf::from("/run/cvr/status.json"));
    assert_eq!(config.log_level, LogLevel::Information);
    assert_eq!(config.flash_sync_interval, Duration::from_secs(2));
    assert_eq!(config.access_tier, None);
    assert_eq!(config.cameras[1].segment_length, Duration::from_secs(30));
    assert_eq!(config.cameras[1].state, State::Active);
}

#[test]
fn what_is_said_is_taken() {
    let said = r#"{
        "trustedCertificatesPath": "roots.pem", "uploadMaximumKbps": 2e3,
        "statusPath": "state/s.json", "logLevel": "verbose", "flashSyncInterval": "PT1M",
        "accessTier": "cool", "segmentLength": "PT5M", "localMediaCacheMaximumSizeMiB": "17","#;
    let text = FILE
        .replacen('{', said, 1)
        .replace("\"/media/data/cvr\"", "\"rings\"")
        .replace(
            "\"name\": \"dock\",",
            "\"name\": \"dock\", \"transport\": \"TCP\", \"state\": \"Inactive\",",
        )
        .replace(
            "\"localMediaCacheMaximumSizeMiB\": \"16\"",
            "\"assetNamePattern\": null",
        );
    let config = read(&text).unwrap().config;
    assert_eq!(
        config.trusted_certificates_path,
        Some(PathBuf::from("/card/roots.pem"))
    );
    assert_eq!(config.local_media_cache_path, PathBuf::from("/card/rings"));
    assert_eq!(config.status_path, PathBuf::from("/card/state/s.json"));
    assert_eq!(config.upload_maximum_kbps, 2000);
    assert_eq!(config.log_level, LogLevel::Verbose);
    assert_eq!(config.flash_sync_interval, Duration::from_secs(60));
    assert_eq!(config.access_tier, Some(AccessTier::Cool));
    assert_eq!(config.cameras[0].segment_length, Duration::from_secs(30));
    assert_eq!(config.cameras[1].segment_length, Duration::from_secs(300));
    assert_eq!(config.cameras[0].ring_bytes, 2048 * MIB);
    assert_eq!(config.cameras[1].ring_bytes, 17 * MIB);
    assert_eq!(config.cameras[1].state, State::Inactive);
}

#[test]
fn credentials_come_from_the_url_or_from_their_keys() {
    let cameras = read(FILE).unwrap().config.cameras;
    for camera in &cameras {
        let credentials = camera.credentials.as_ref().unwrap();
        assert_eq!(credentials.user.expose(), "hidden");
        assert_eq!(credentials.password.expose(), "hidden");
    }
    assert_eq!(cameras[1].address.url().as_str(), "rtsp://192.0.2.11/");

    let same = "rtsp://hidden:hidden@192.0.2.10/hidden";
    let text = FILE.replace("rtsp://192.0.2.10/hidden", same);
    assert_eq!(read(&text).unwrap().config.cameras, cameras);

    // One in the URL, the other in its key.
    let text = FILE
        .replace("rtsp://192.0.2.10", "rtsp://hidden@192.0.2.10")
        .replace("\"rtspUserName\": \"hidden\",", "");
    assert_eq!(read(&text).unwrap().config.cameras, cameras);

    let text = FILE.replace("hidden:hidden@", "");
    assert_eq!(read(&text).unwrap().config.cameras[1].credentials, None);
}

#[test]
fn marks_line_ends_and_escapes_of_other_systems_are_taken() {
    let config = read(FILE).unwrap().config;
    for text in [
        format!("\u{feff}{FILE}"),
        FILE.replace('\n', "\r\n"),
        FILE.replace("  ", "\t"),
        FILE.replace('&', "\\u0026"),
        FILE.replace('/', "\\/"),
    ] {
        assert_eq!(read(&text).unwrap().config, config);
    }
    // A pair of surrogates in a password.
    let text = FILE.replace(
        "\"rtspPassword\": \"hidden\"",
        r#""rtspPassword": "\"\ud83d\ude00\\""#,
    );
    let camera = &read(&text).unwrap().config.cameras[0];
    let credentials = camera.credentials.as_ref().unwrap();
    assert_eq!(credentials.password.expose(), "\"\u{1f600}\\");
}

#[test]
fn a_right_file_does_not_show_its_secrets() {
    let judged = read(FILE).unwrap();
    let shown = format!("{judged:?} {judged:#?}");
    assert!(
        shown.contains("warehouse-3") && !shown.contains("hidden"),
        "{shown}"
    );
    assert_eq!(
        judged.config.container.to_string(),
        "https://account.blob.core.windows.net/recordings"
    );
}

#[test]
fn keys_are_judged() {
    assert_errors(&[
        (
            "\"gatewayName\"",
            "\"gatewayname\"",
            "2: gatewayname: is not a known key; did you mean \"gatewayName\"?",
        ),
        (
            "\"segmentLength\"",
            "\"segmentLenght\"",
            "11: cameras[0].segmentLenght: is not a known key; did you mean \"segmentLength\"?",
        ),
        (
            "\"segmentLength\"",
            "\"motionDetection\"",
            "11: cameras[0].motionDetection: is not a known key",
        ),
        (
            "\"segmentLength\"",
            "\"segmentLength \"",
            "11: cameras[0]....: is not a known key; did you mean \"segmentLength\"?",
        ),
        (
            "\"segmentLength\"",
            "\"https://a/?sig=hidden\"",
            "11: cameras[0]....: is not a known key",
        ),
        (
            "\"segmentLength\"",
            "\"logLevel\"",
            "11: cameras[0].logLevel: is not a key of this place, but of the top",
        ),
        (
            "\"gatewayName\"",
            "\"rtspUrl\"",
            "2: rtspUrl: is not a key of this place, but of a camera",
        ),
        (
            "\"segmentLength\"",
            "\"name\"",
            "11: cameras[0].name: is there already, in line 7; each key stands once",
        ),
    ]);
}

#[test]
fn kinds_are_judged() {
    assert_errors(&[
        (FILE, "[]", "1: a list is not one object in { }"),
        (FILE, "\"hidden\"", "1: a text is not one object in { }"),
        (
            "\"warehouse-3\"",
            "3",
            "2: gatewayName: a number is not a text in double quotes",
        ),
        (
            "\"PT30S\"",
            "[]",
            "11: cameras[0].segmentLength: a list is not a text in double quotes",
        ),
        (
            "\"PT30S\"",
            "{\"a\":1}",
            "11: cameras[0].segmentLength: an object is not a text in double quotes",
        ),
        (
            "\"PT30S\"",
            "true",
            "11: cameras[0].segmentLength: true, false or null is not a text in double quotes",
        ),
        (
            "\"2048\"",
            "2048",
            "12: cameras[0].localMediaCacheMaximumSizeMiB: a size stands in quotes, as in LVA; write for instance \"2048\"",
        ),
        (
            "{\n",
            "{ \"uploadMaximumKbps\": \"2000\",\n",
            "1: uploadMaximumKbps: a text is not a number without quotes, such as 2000",
        ),
        (
            "{\n",
            "{ \"uploadMaximumKbps\": 0.5,\n",
            "1: uploadMaximumKbps: 0.5 is not a whole number of kbit/s, or 0 for no limit",
        ),
        (
            "{\n",
            "{ \"uploadMaximumKbps\": -1,\n",
            "1: uploadMaximumKbps: -1 is not a whole number of kbit/s, or 0 for no limit",
        ),
        (
            "{\n",
            "{ \"uploadMaximumKbps\": 4294967296,\n",
            "1: uploadMaximumKbps: 4294967296 is not a whole number of kbit/s, or 0 for no limit",
        ),
        (
            "{\n",
            "{ \"uploadMaximumKbps\": 1e999,\n",
            "1: uploadMaximumKbps: inf is not a whole number of kbit/s, or 0 for no limit",
        ),
        (
            "[\n",
            "[ 1,\n",
            "5: cameras[0]: a number is not one object in { }",
        ),
        (
            "[\n",
            "[ [],\n",
            "5: cameras[0]: a list is not one object in { }",
        ),
    ]);
    let cameras = FILE.find("[\n").unwrap();
    let text = format!("{}{{}}}}", FILE.get(..cameras).unwrap());
    assert_eq!(
        read(&text).unwrap_err(),
        "cvr.json:5: cameras: an object is not a list of objects, [{ ... }]"
    );
}

#[test]
fn required_values_are_missed() {
    assert_errors(&[
        (
            "\"gatewayName\": \"warehouse-3\",",
            "",
            "1: gatewayName: is missing; it must be 1 to 32 letters, digits and inner dashes",
        ),
        (
            "\"warehouse-3\"",
            "null",
            "2: gatewayName: is missing; it must be 1 to 32 letters, digits and inner dashes",
        ),
        (
            "\"localMediaCachePath\": \"/media/data/cvr\",",
            "",
            "1: localMediaCachePath: is missing; it must be a path",
        ),
        (
            "\"name\": \"front-door\",",
            "",
            "6: cameras[0].name: is missing; it must be 1 to 32 letters, digits and inner dashes",
        ),
        (
            "\"rtspUrl\": \"rtsp://192.0.2.10/hidden\",",
            "",
            "6: cameras[0].rtspUrl: is missing; it must be rtsp://HOST:PORT/PATH",
        ),
        (
            "\"rtspUserName\": \"hidden\",",
            "",
            "6: cameras[0].rtspUserName: is missing; it must be given where there is a password",
        ),
        (
            ",\n      \"localMediaCacheMaximumSizeMiB\": \"16\"",
            "",
            "14: cameras[1].localMediaCacheMaximumSizeMiB: is missing; it must be a whole number of MiB in quotes, from \"16\" to \"16777216\"",
        ),
        (
            FILE,
            "{}",
            "1: gatewayName: is missing; it must be 1 to 32 letters, digits and inner dashes",
        ),
    ]);
    let sas = FILE.lines().nth(2).unwrap();
    assert_errors(&[(
        sas,
        "",
        "1: containerSasUrl: is missing; it must be the SAS URL of a container",
    )]);
    let cameras = FILE.find(",\n  \"cameras\"").unwrap();
    let text = format!("{}}}", FILE.get(..cameras).unwrap());
    assert_eq!(
        read(&text).unwrap_err(),
        "cvr.json:1: cameras: is missing; it must be a list of objects, [{ ... }]"
    );
}

#[test]
fn values_are_judged() {
    let name = "is not 1 to 32 letters, digits and inner dashes";
    for value in ["", "-a", "a-", "a b", "a_b", "ä", "a.b", &"a".repeat(33)] {
        assert_eq!(
            error("warehouse-3", value),
            format!("cvr.json:2: gatewayName: \"{value}\" {name}")
        );
        assert_eq!(
            error("front-door", value),
            format!("cvr.json:7: cameras[0].name: \"{value}\" {name}")
        );
    }
    let size = "is not a whole number of MiB in quotes, from \"16\" to \"16777216\"";
    for value in [
        "",
        "15",
        "0",
        "-16",
        "+16",
        "16.0",
        "16777217",
        "2 GiB",
        "99999999999999999999",
    ] {
        let place = "12: cameras[0].localMediaCacheMaximumSizeMiB";
        assert_eq!(
            error("2048", value),
            format!("cvr.json:{place}: \"{value}\" {size}")
        );
    }
}

#[test]
fn words_paths_and_intervals_are_judged() {
    assert_errors(&[
        (
            "warehouse-3",
            "https://a/?sig=hidden",
            "2: gatewayName: a value that is not shown is not 1 to 32 letters, digits and inner dashes",
        ),
        (
            "/media/data/cvr",
            " ",
            "4: localMediaCachePath: \" \" is not a path",
        ),
        (
            "{\n",
            "{ \"statusPath\": \"\",\n",
            "1: statusPath: \"\" is not a path",
        ),
        (
            "{\n",
            "{ \"trustedCertificatesPath\": \"\",\n",
            "1: trustedCertificatesPath: \"\" is not a path",
        ),
        (
            "{\n",
            "{ \"logLevel\": \"Debug\",\n",
            "1: logLevel: \"Debug\" is not one of Verbose, Information, Warning, Error, None",
        ),
        (
            "{\n",
            "{ \"accessTier\": \"Archive\",\n",
            "1: accessTier: \"Archive\" is not one of Hot, Cool, Cold",
        ),
        (
            "{\n",
            "{ \"flashSyncInterval\": \"PT0S\",\n",
            "1: flashSyncInterval: \"PT0S\" is not a whole number of seconds from PT1S to PT1M",
        ),
        (
            "{\n",
            "{ \"flashSyncInterval\": \"PT61S\",\n",
            "1: flashSyncInterval: \"PT61S\" is not a whole number of seconds from PT1S to PT1M",
        ),
        (
            "{\n",
            "{ \"localMediaCacheMaximumSizeMiB\": \"1\",\n",
            "1: localMediaCacheMaximumSizeMiB: \"1\" is not a whole number of MiB in quotes, from \"16\" to \"16777216\"",
        ),
        (
            "{\n      \"name\"",
            "{ \"state\": \"Off\",\n      \"name\"",
            "6: cameras[0].state: \"Off\" is not one of Active, Inactive",
        ),
        (
            "{\n      \"name\"",
            "{ \"transport\": \"sctp\",\n      \"name\"",
            "6: cameras[0].transport: \"sctp\" is not one of tcp",
        ),
    ]);
}

#[test]
#[cfg(not(feature = "short-segments"))]
fn segment_lengths_are_lvas() {
    let rule = "is not a multiple of 30 s between PT30S and PT5M";
    for value in ["PT45S", "PT1S", "PT0S", "PT5M30S", "30", "30s", "P1D", ""] {
        let place = "cvr.json:11: cameras[0].segmentLength";
        assert_eq!(
            error("PT30S", value),
            format!("{place}: \"{value}\" {rule}")
        );
    }
    assert_errors(&[(
        "{\n",
        "{ \"segmentLength\": \"PT1S\",\n",
        "1: segmentLength: \"PT1S\" is not a multiple of 30 s between PT30S and PT5M",
    )]);
}

#[test]
#[cfg(feature = "short-segments")]
fn segment_lengths_may_be_short_in_tests() {
    let judged = read(&FILE.replace("PT30S", "PT1S")).unwrap();
    assert_eq!(
        judged.config.cameras[0].segment_length,
        Duration::from_secs(1)
    );
    assert_errors(&[(
        "PT30S",
        "PT5M1S",
        "11: cameras[0].segmentLength: \"PT5M1S\" is not a multiple of 1 s between PT1S and PT5M",
    )]);
}

#[test]
fn names_and_assets_are_each_cameras_own() {
    assert_errors(&[
        (
            "\"dock\"",
            "\"Front-Door\"",
            "15: cameras[1].name: \"Front-Door\" is the same as cameras[0].name; each must be its own, case ignored",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"x\",\n",
            "14: cameras[1].assetNamePattern: \"x\" is the same as the asset of cameras[0]; each must be its own, case ignored",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"x-${System.DateTime}\",\n",
            "14: cameras[1].assetNamePattern: \"x-19700101T000000Z\" is the same as the asset of cameras[0]; each must be its own, case ignored",
        ),
        (
            "\"name\": \"dock\"",
            "\"name\": \"dock\", \"assetNamePattern\": \"Warehouse-3-FRONT-door\"",
            "15: cameras[1].assetNamePattern: \"Warehouse-3-FRONT-door\" is the same as the asset of cameras[0]; each must be its own, case ignored",
        ),
        (
            "\"name\": \"dock\"",
            "\"name\": \"dock\", \"assetNamePattern\": \"Warehouse-3\"",
            "15: cameras[1].assetNamePattern: the asset \"Warehouse-3\" is the same as gatewayName; it must be another one",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"a/b\",\n",
            "1: assetNamePattern: '/' is not allowed in an asset name, nor is any of < > % & : \\ / ? * + . ' or a control character",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"${System.Name}\",\n",
            "1: assetNamePattern: \"System.Name\" is not a variable; known are System.GatewayName, System.GraphInstanceName, System.GraphTopologyName, System.DateTime, System.PreciseDateTime",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"${System.GraphTopologyName}\",\n",
            "1: assetNamePattern: \"System.GraphTopologyName\" has no value without graphTopologies",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"${System.DateTime\",\n",
            "1: assetNamePattern: the } after ${ is missing",
        ),
        (
            "{\n",
            "{ \"assetNamePattern\": \"\",\n",
            "1: assetNamePattern: the asset name has 0 characters; allowed are 1 to 260",
        ),
    ]);
}

#[test]
fn urls_are_judged_and_never_shown() {
    let form = "https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS";
    for (from, to, problem) in [
        (
            "https://account",
            "http://account",
            "must be https://; http:// is allowed to a loopback address only".to_owned(),
        ),
        (
            "https://account",
            "ftp://account",
            "must begin with https:// (http:// only to a loopback address)".to_owned(),
        ),
        ("https://", "", format!("must be a URL: {form}")),
        (
            "/recordings",
            "",
            format!(
                "must name one container and no blob: {form}, 3 to 63 lower-case letters, digits \
                 and inner dashes"
            ),
        ),
        (
            "sig=hidden",
            "hidden",
            "must carry a SAS: a query with sv=, sp=, se= and sig=".to_owned(),
        ),
        (
            "sig=hidden",
            "sig=hid den&hidden",
            "must have no white space or control character in it".to_owned(),
        ),
    ] {
        let expected = format!("cvr.json:3: containerSasUrl: {problem}");
        assert_eq!(error(from, to), expected);
    }
    let form = "is no URL of the form rtsp://host:port/path (in user name and password, write / as \
                %2F, ? as %3F and # as %23)";
    for (from, to, problem) in [
        ("rtsp://192", "192", form),
        ("192.0.2.10/hidden", "hidden:hid/den@192.0.2.10/", form),
        (
            "rtsp://192",
            "http://192",
            "begins neither with rtsp:// nor with rtsps://",
        ),
        (
            "192.0.2.10",
            "",
            "has no host name or address, as in rtsp://host:port/path",
        ),
        (
            "192.0.2.10",
            "192.0.2.10:0",
            "has port 0; 1 to 65535 are allowed",
        ),
        (
            "192.0.2.10/hidden",
            "192.0.2.10/a#hidden",
            "has a #; in user name and password, write it as %23",
        ),
        (
            "192.0.2.10",
            "hidden:%ff@192.0.2.10",
            "has a user name or password that is not UTF-8; write them in rtspUserName and \
             rtspPassword",
        ),
    ] {
        let expected = format!("cvr.json:8: cameras[0].rtspUrl: {problem}");
        assert_eq!(error(from, to), expected);
    }
}

#[test]
fn credentials_are_judged_and_never_shown() {
    assert_errors(&[
        (
            "192.0.2.10",
            "hidden2:hidden@192.0.2.10",
            "9: cameras[0].rtspUserName: differs from the one in rtspUrl; write it in one place only",
        ),
        (
            "192.0.2.10",
            "hidden:hidden2@192.0.2.10",
            "10: cameras[0].rtspPassword: differs from the one in rtspUrl; write it in one place only",
        ),
        (
            "rtsp://hidden:hidden@",
            "rtsp://:hidden@",
            "14: cameras[1].rtspUserName: is missing; it must be given where there is a password",
        ),
        (
            "\"rtspPassword\": \"hidden\"",
            "\"rtspPassword\": \"hidden\\n\"",
            "10: cameras[0].rtspPassword: the value is not free of control characters",
        ),
    ]);
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    assert_errors(&[
        (
            "{\n",
            "{ \"metricsListen\": \"127.0.0.1:9600\",\n",
            "1: metricsListen: is not built into this version; take the key out",
        ),
        (
            "{\n",
            "{ \"memoryCacheMaximumSizeMiB\": \"16\",\n",
            "1: memoryCacheMaximumSizeMiB: is not built into this version; take the key out",
        ),
        (
            "{\n",
            "{ \"graphTopologies\": [],\n",
            "1: graphTopologies: is not built into this version; describe the cameras in \"cameras\"",
        ),
        (
            "{\n",
            "{ \"graphInstances\": [{\"hidden\": [1]}],\n",
            "1: graphInstances: is not built into this version; describe the cameras in \"cameras\"",
        ),
        (
            "\"name\": \"dock\"",
            "\"name\": \"dock\", \"trustedCertificatesPath\": \"a.pem\"",
            "15: cameras[1].trustedCertificatesPath: is not built into this version; take the key out",
        ),
        (
            "\"name\": \"dock\"",
            "\"name\": \"dock\", \"transport\": \"Udp\"",
            "15: cameras[1].transport: \"Udp\" is not built into this version; allowed is \"tcp\"",
        ),
        (
            "\"name\": \"dock\"",
            "\"name\": \"dock\", \"transport\": \"http\"",
            "15: cameras[1].transport: \"http\" is not built into this version; allowed is \"tcp\"",
        ),
        (
            "rtsp://192",
            "rtsps://192",
            "8: cameras[0].rtspUrl: \"rtsps\" is not built into this version; allowed is rtsp://",
        ),
    ]);
}

#[test]
fn the_first_error_of_the_file_is_told() {
    let text = FILE
        .replace("\"16\"", "\"1\"")
        .replace("PT30S", "PT6M")
        .replace("dock", "-");
    assert!(read(&text).unwrap_err().starts_with("cvr.json:11: "));
    // A wrong default behind the cameras is not a missing value in them.
    let late = FILE.replace(",\n      \"localMediaCacheMaximumSizeMiB\": \"16\"", "");
    let late = late.replace("  ]\n}", "  ], \"localMediaCacheMaximumSizeMiB\": \"x\" }");
    assert!(
        read(&late)
            .unwrap_err()
            .starts_with("cvr.json:18: localMediaCacheMaximumSizeMiB: ")
    );
    // Nor is a wrong default that no camera takes let pass.
    let own = "\"name\": \"dock\", \"assetNamePattern\": \"a\"";
    let unused =
        FILE.replace("\"name\": \"dock\"", own)
            .replacen('{', "{\"assetNamePattern\": \"/\",", 1);
    let own = "\"name\": \"front-door\", \"assetNamePattern\": \"b\"";
    let unused = unused.replace("\"name\": \"front-door\"", own);
    assert!(
        read(&unused)
            .unwrap_err()
            .starts_with("cvr.json:1: assetNamePattern: ")
    );

    let text = text.replace("warehouse-3", "");
    assert!(read(&text).unwrap_err().starts_with("cvr.json:2: "));
}

#[test]
fn cameras_are_counted() {
    let entry = |index| {
        format!(
            r#"{{"name": "c{index}", "rtspUrl": "rtsp://h/", "localMediaCacheMaximumSizeMiB": "16"}}"#
        )
    };
    let with = |count| {
        let cameras = FILE.find("[\n").unwrap();
        let entries: Vec<_> = (0..count).map(entry).collect();
        format!("{}[{}]}}", FILE.get(..cameras).unwrap(), entries.join(","))
    };
    assert_eq!(read(&with(16)).unwrap().config.cameras.len(), 16);
    for count in [0, 17] {
        let line = format!("cvr.json:5: cameras: {count} cameras are not 1 to 16 cameras");
        assert_eq!(read(&with(count)).unwrap_err(), line);
    }
}

#[test]
fn no_cut_and_no_changed_byte_brings_the_reader_down_or_a_secret_out() {
    for at in 0..FILE.len() {
        let Some((before, after)) = FILE.split_at_checked(at) else {
            continue;
        };
        // The last line end may go.
        assert_eq!(read(before).is_ok(), at == FILE.len() - 1, "{before}");
        for byte in [
            "\"", "\\", "{", "}", "[", "]", ",", ":", "\n", "\0", "\u{e4}",
        ] {
            let text = format!("{before}{byte}{}", after.get(1..).unwrap_or_default());
            // What is wrong is judged by `read`; a change within a value may be right.
            let _either = read(&text);
        }
    }
}
