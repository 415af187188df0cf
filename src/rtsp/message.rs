//! RTSP messages (RFC 2326 sections 4 to 7): cleans and reads what cameras send, writes what we
//! send. The only file that knows `rtsp-types`.

use rtsp_types::headers::{CSEQ, HeaderName, PUBLIC, SESSION};
use rtsp_types::{Message, Method, StatusCode, Version};
use url::Url;

/// A camera's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 999.
    pub status: u16,
    headers: Headers,
    /// The body, as long as Content-Length says.
    pub body: Vec<u8>,
}

impl Response {
    /// Value of header `name`, in any letter case, without surrounding white space. Repeated
    /// headers are joined by `, `.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Number of the request that is answered; none where it is missing or no number.
    pub fn cseq(&self) -> Option<u32> {
        self.header("CSeq")?.parse().ok()
    }
}

/// A camera's request to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, as sent.
    pub method: String,
    headers: Headers,
    /// The body, as long as Content-Length says.
    pub body: Vec<u8>,
}

impl Request {
    /// See [`Response::header`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// Reads the head of a message, up to and including its empty line, in any of the forms cameras
/// send; attaches `body`. None if it has neither a status line nor a request line.
///
/// `rtsp-types` refuses a status line without a reason, bytes over 127, a space before the colon,
/// junk lines and heads with bare line feeds: the head is written anew for it.
pub(super) fn parse(head: &[u8], body: &[u8]) -> Option<Incoming> {
    let head: String = String::from_utf8_lossy(head)
        .chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect();
    let mut lines = head.lines();
    let start = clean_start_line(lines.next()?)?;
    let mut clean = start;
    for line in lines {
        append_header_line(&mut clean, line);
    }
    clean.push_str("\r\n\r\n");
    let (message, _) = Message::<Vec<u8>>::parse(clean.as_bytes()).ok()?;
    let body = body.to_vec();
    match message {
        Message::Response(response) => Some(Incoming::Response(Response {
            status: response.status().into(),
            headers: Headers::new(response.headers()),
            body,
        })),
        Message::Request(request) => Some(Incoming::Request(Request {
            method: <&str>::from(request.method()).to_owned(),
            headers: Headers::new(request.headers()),
            body,
        })),
        Message::Data(_) => None,
    }
}

/// What [`parse`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Response(Response),
    Request(Request),
}

/// The value of Content-Length in a head as the camera sent it, digits only; the last one counts.
pub(super) fn content_length(head: &[u8]) -> Option<&[u8]> {
    head.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            name.trim_ascii()
                .eq_ignore_ascii_case(b"Content-Length")
                .then(|| value.get(1..))?
        })
        .map(<[u8]>::trim_ascii)
        .next_back()
}

/// A request without a body, ready to send. `headers` are name and value, in order of name.
pub(super) fn request(method: &str, url: &Url, cseq: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = rtsp_types::Request::builder(Method::from(method), Version::V1_0)
        .request_uri(url.clone())
        .header(CSEQ, cseq.to_string());
    for (name, value) in headers {
        if let Ok(name) = HeaderName::try_from(*name) {
            builder = builder.header(name, *value);
        }
    }
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = builder.empty().write(&mut bytes);
    bytes
}

/// An answer to the camera's `request`, ready to send.
pub(super) fn response(request: &Request, status: u16, public: Option<&str>) -> Vec<u8> {
    let reason = if status == 200 {
        "OK"
    } else {
        "Not Implemented"
    };
    let mut builder = rtsp_types::Response::builder(Version::V1_0, StatusCode::from(status))
        .reason_phrase(reason);
    for (name, value) in [
        (CSEQ, request.header("CSeq")),
        (PUBLIC, public),
        (SESSION, request.header("Session")),
    ] {
        if let Some(value) = value {
            builder = builder.header(name, value);
        }
    }
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = builder.empty().write(&mut bytes);
    bytes
}

/// Names and values; the names are unique in any letter case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Headers(Vec<(String, String)>);

impl Headers {
    fn new<'a>(
        headers: impl Iterator<Item = (&'a HeaderName, &'a rtsp_types::headers::HeaderValue)>,
    ) -> Self {
        Self(
            headers
                .map(|(name, value)| (name.as_str().to_owned(), value.as_str().trim().to_owned()))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A status line gets version 1.0 and a reason, a request line gets `*` for its URL (only the
/// method matters).
fn clean_start_line(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    if first.starts_with("RTSP/") {
        let status = words.next()?;
        let valid = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
        return valid.then(|| format!("RTSP/1.0 {status} -"));
    }
    let method = first
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    (method && words.last()?.starts_with("RTSP/")).then(|| format!("{first} * RTSP/1.0"))
}

/// Appends `line` if it is a header or the continuation of one; drops it if it is junk. Content
/// length is left out: the body is not part of what `rtsp-types` sees.
fn append_header_line(clean: &mut String, line: &str) {
    if line.starts_with([' ', '\t']) && clean.contains("\r\n") {
        clean.push(' ');
        clean.push_str(line.trim());
        return;
    }
    let Some((name, value)) = line.split_once(':') else {
        return;
    };
    let name = name.trim();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || name.eq_ignore_ascii_case("Content-Length") {
        return;
    }
    clean.push_str("\r\n");
    clean.push_str(name);
    clean.push_str(": ");
    clean.extend(value.trim().chars().filter(|c| !c.is_ascii_control()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response_of(head: &str) -> Response {
        match parse(head.as_bytes(), b"") {
            Some(Incoming::Response(response)) => response,
            other => panic!("{head:?} gave {other:?}"),
        }
    }

    #[test]
    fn heads_that_cameras_send_are_read() {
        for head in [
            "RTSP/1.0 200 OK\r\nCSeq: 7\r\nServer: x\r\n\r\n",
            // No reason.
            "RTSP/1.0 200\r\nCSeq: 7\r\nServer: x\r\n\r\n",
            // Longse: white space behind CSeq.
            "RTSP/1.0 200 OK\r\nCSeq: 7 \r\nServer: x\r\n\r\n",
            // VLC: another spelling.
            "RTSP/1.0 200 OK\r\nCseq: 7\r\nServer: x\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq : 7\r\nserver:x\r\n\r\n",
            "RTSP/1.0 200 OK\nCSeq: 7\nServer: x\n\n",
            "RTSP/1.0 200 OK\r\njunk without a colon\r\n: no name\r\na b: c\r\nCSeq: 7\r\n\
             Server: x\r\n\r\n",
            "RTSP/1.1  200  OK\r\nCSeq: 7\r\nServer:\r\n x\r\n\r\n",
        ] {
            let response = response_of(head);
            assert_eq!(response.status, 200, "{head:?}");
            assert_eq!(response.cseq(), Some(7), "{head:?}");
            assert_eq!(response.header("SERVER"), Some("x"), "{head:?}");
        }
    }

    #[test]
    fn bytes_over_127_cost_their_character_only() {
        let Some(Incoming::Response(response)) = parse(
            b"RTSP/1.0 404 Pas trouv\xe9\r\nServer: Cam\xe9ra\r\nCSeq: 1\r\n\r\n",
            b"",
        ) else {
            panic!("not read");
        };
        assert_eq!((response.status, response.cseq()), (404, Some(1)));
        assert_eq!(response.header("Server"), Some("Cam?ra"));
    }

    #[test]
    fn repeated_headers_are_joined_and_missing_ones_are_none() {
        let response = response_of(
            "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest a\r\n\
             WWW-Authenticate: Basic b\r\n\r\n",
        );
        assert_eq!(
            response.header("www-authenticate"),
            Some("Digest a, Basic b")
        );
        assert_eq!(response.cseq(), None);
    }

    #[test]
    fn the_cameras_requests_are_read_and_answered() {
        let head = b"OPTIONS rtsp://[::bad RTSP/1.0\r\nCSeq: 3\r\nSession: 12\r\n\r\n";
        let Some(Incoming::Request(request)) = parse(head, b"") else {
            panic!("not read");
        };
        assert_eq!(request.method, "OPTIONS");
        assert_eq!(
            String::from_utf8(response(&request, 200, Some("OPTIONS"))).unwrap(),
            "RTSP/1.0 200 OK\r\nCSeq: 3\r\nPublic: OPTIONS\r\nSession: 12\r\n\r\n"
        );
    }

    #[test]
    fn what_is_no_message_is_none() {
        for head in [
            "",
            "\r\n",
            "RTSP/1.0\r\n\r\n",
            "RTSP/1.0 20 OK\r\n\r\n",
            "RTSP/1.0 2000 OK\r\n\r\n",
            "RTSP/1.0 abc OK\r\n\r\n",
            "OPTIONS *\r\n\r\n",
            "OPT IONS: * RTSP\r\n\r\n",
            "$\0\0\x04abcd\r\n\r\n",
        ] {
            assert_eq!(parse(head.as_bytes(), b""), None, "{head:?}");
        }
    }

    #[test]
    fn content_length_is_found_in_any_form() {
        for (head, length) in [
            ("RTSP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n", Some("12")),
            ("RTSP/1.0 200 OK\ncontent-length :12 \n\n", Some("12")),
            ("RTSP/1.0 200 OK\r\nX-Content-Length: 12\r\n\r\n", None),
            ("RTSP/1.0 200 OK\r\n\r\n", None),
        ] {
            let found = content_length(head.as_bytes());
            assert_eq!(found, length.map(str::as_bytes), "{head:?}");
        }
    }

    #[test]
    fn a_request_is_written() {
        let url = Url::parse("rtsp://192.0.2.1//a?b=c&d/trackID=0").unwrap();
        let bytes = request("DESCRIBE", &url, 2, &[("Accept", "application/sdp")]);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "DESCRIBE rtsp://192.0.2.1//a?b=c&d/trackID=0 RTSP/1.0\r\nAccept: application/sdp\r\n\
             CSeq: 2\r\n\r\n"
        );
    }
}
