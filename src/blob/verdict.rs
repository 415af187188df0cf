//! What an answer to a Put Blob means (DESIGN.md section 4, "It is there", and section 5).

use core::fmt;
use core::time::Duration;

use super::sas::SasWindow;

/// Bytes of an answer's body that are looked at.
pub const ANSWER_BODY_MAX: usize = 8 * 1024;

/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server answered, perhaps before it had the whole body.
    Reply(Reply),
    /// No connection: no address of the host took it.
    NotConnected,
    /// The host's name has no address.
    NameNotFound,
    /// TLS failed; the TLS library's words, which hold no secret.
    TlsFailed(String),
    /// The connection broke, without an answer, after so many bytes of the body were handed to it.
    Reset {
        /// Bytes of the body.
        sent: u64,
    },
    /// Nothing moved for the whole progress timeout, after so many bytes of the body.
    Stalled {
        /// Bytes of the body.
        sent: u64,
    },
    /// What came back is not HTTP, or has an endless head.
    NotHttp,
    /// The source of the body failed, after so many bytes of the body; the connection was closed.
    Aborted {
        /// Bytes of the body.
        sent: u64,
    },
    /// The caller cancelled, after so many bytes of the body; the connection was closed.
    Cancelled {
        /// Bytes of the body.
        sent: u64,
    },
}

impl Answer {
    /// The last byte of a body of `length` bytes may have been delivered, so that the blob may be
    /// there although nobody said so: to be noted on flash.
    pub const fn may_be_there(&self, length: u64) -> bool {
        match self {
            Self::Reset { sent }
            | Self::Stalled { sent }
            | Self::Aborted { sent }
            | Self::Cancelled { sent } => *sent >= length,
            // A proxy may have lost the service's answer.
            Self::Reply(reply) => reply.status >= 500,
            Self::NotHttp => true,
            Self::NotConnected | Self::NameNotFound | Self::TlsFailed(_) => false,
        }
    }
}

/// A server's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `x-ms-error-code`, or `<Code>` of the body where the header is missing.
    pub code: Option<ErrorCode>,
    /// `Retry-After`, where it is in seconds.
    pub retry_after: Option<Duration>,
}

/// A code of Blob storage: letters and digits, at most 64. Anything else is no code.
pub type ErrorCode = heapless::String<64>;

impl Reply {
    /// From a status, the headers that matter and the first bytes of the body.
    pub fn new(status: u16, code: Option<&str>, retry_after: Option<&str>, body: &[u8]) -> Self {
        let seconds = retry_after.and_then(|text| text.trim().parse().ok());
        Self {
            status,
            code: code.and_then(error_code).or_else(|| code_of_body(body)),
            retry_after: seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)),
        }
    }
}

/// What is known of an attempt besides its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptFacts {
    /// An earlier attempt, noted on flash, may have delivered its last byte.
    pub may_be_there: bool,
    /// The SAS itself grants no right to create a blob: `ContainerUrl::lacks_right`.
    pub lacks_right: bool,
    /// Where the gateway's clock, if it is right, stands to the SAS's validity.
    pub sas: SasWindow,
}

/// What an answer means for the segment, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 201: the blob is there.
    Stored,
    /// An earlier attempt had put it there.
    AlreadyThere,
    /// It may be there, or the SAS lacks the right: see [`Doubt`].
    MaybeThere,
    /// The SAS, or the account behind it, is refused; so would be every segment.
    SasRefused(SasFault),
    /// There is no such container.
    ContainerMissing,
    /// The segment is refused for itself.
    SegmentRefused(Reply),
    /// The bytes that arrived are not those that were announced: read and send again.
    Md5Mismatch,
    /// Too many requests.
    Throttled(Option<Duration>),
    /// The server has trouble of its own.
    ServerTrouble(u16, Option<Duration>),
    /// What answered is not Blob storage: a proxy, a login page.
    NotBlobStorage(Option<u16>),
    /// The network is at fault.
    NetworkTrouble(NetworkFault),
    /// TLS failed, in the TLS library's words.
    TlsRefused(String),
    /// The source of the body failed.
    Aborted,
    /// The caller itself ended it.
    Cancelled,
}

/// Why a SAS is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SasFault {
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It does not grant the right to create a blob.
    RightMissing,
    /// It allows another protocol only (`spr`).
    Protocol,
    /// It allows other addresses only (`sip`).
    Address,
    /// The storage account is disabled, or does not allow a SAS.
    Account,
    /// Wrong signature, another container's, revoked, or kept out by the account's firewall.
    Wrong,
}

/// What is wrong with the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkFault {
    /// The host's name has no address.
    Name,
    /// No address of the host took the connection.
    Connection,
    /// The connection broke. With `true`, in mid-body: perhaps an early refusal, so ask with an
    /// empty Put to a name never used for video before a body is sent again.
    Reset(bool),
    /// Nothing moved for the whole progress timeout.
    Stalled,
}

/// What `answer` to a Put Blob with `If-None-Match: *` means.
pub fn judge(answer: &Answer, attempt: &AttemptFacts) -> Verdict {
    match answer {
        Answer::Reply(reply) => judge_reply(reply, attempt),
        Answer::NotConnected => Verdict::NetworkTrouble(NetworkFault::Connection),
        Answer::NameNotFound => Verdict::NetworkTrouble(NetworkFault::Name),
        Answer::TlsFailed(why) => Verdict::TlsRefused(why.clone()),
        Answer::Reset { sent } => Verdict::NetworkTrouble(NetworkFault::Reset(*sent > 0)),
        Answer::Stalled { .. } => Verdict::NetworkTrouble(NetworkFault::Stalled),
        Answer::NotHttp => Verdict::NotBlobStorage(None),
        Answer::Aborted { .. } => Verdict::Aborted,
        Answer::Cancelled { .. } => Verdict::Cancelled,
    }
}

fn judge_reply(reply: &Reply, attempt: &AttemptFacts) -> Verdict {
    let code = reply.code.as_deref().unwrap_or_default();
    match (reply.status, code) {
        (201, _) => Verdict::Stored,
        (409, "BlobAlreadyExists")
        | (412, "ConditionNotMet" | "")
        // The real service's answer to a SAS with `c` and without `w`.
        | (403, "UnauthorizedBlobOverwrite") => Verdict::AlreadyThere,
        // Azurite's answer in that case, but elsewhere a SAS without the right.
        (403, "AuthorizationPermissionMismatch")
            if attempt.may_be_there && !attempt.lacks_right =>
        {
            Verdict::MaybeThere
        }
        (401 | 403, _) | (400, "InvalidAuthenticationInfo") => {
            Verdict::SasRefused(sas_fault(code, attempt.sas))
        }
        (404, _) | (409, "ContainerBeingDeleted" | "ContainerDisabled") => {
            Verdict::ContainerMissing
        }
        (400, "Md5Mismatch") => Verdict::Md5Mismatch,
        (409, "AccountBeingCreated") => Verdict::ServerTrouble(409, reply.retry_after),
        (400 | 409 | 411..=414 | 431, _) => Verdict::SegmentRefused(reply.clone()),
        (429 | 503, _) => Verdict::Throttled(reply.retry_after),
        (408 | 500..=599, _) => Verdict::ServerTrouble(reply.status, reply.retry_after),
        (status, _) => Verdict::NotBlobStorage(Some(status)),
    }
}

/// The service's code where it is clear; else (`AuthenticationFailed`, Azurite's
/// `AuthorizationFailure`) the SAS's own dates may say it.
fn sas_fault(code: &str, window: SasWindow) -> SasFault {
    match code {
        "AuthorizationPermissionMismatch" => SasFault::RightMissing,
        "AuthorizationProtocolMismatch" => SasFault::Protocol,
        "AuthorizationSourceIPMismatch" => SasFault::Address,
        "AccountIsDisabled"
        | "InsufficientAccountPermissions"
        | "KeyBasedAuthenticationNotPermitted" => SasFault::Account,
        _ => match window {
            SasWindow::Expired => SasFault::Expired,
            SasWindow::NotYetValid => SasFault::NotYetValid,
            SasWindow::Valid | SasWindow::Unknown => SasFault::Wrong,
        },
    }
}

impl Verdict {
    /// The blob is there: the segment is done.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Stored | Self::AlreadyThere)
    }

    /// As the verdict on a probe, whose condition fails where all is well: container and SAS are
    /// good, so the line was bad.
    pub const fn is_good_probe(&self) -> bool {
        matches!(self, Self::Stored | Self::AlreadyThere | Self::MaybeThere)
    }

    /// Ask with an empty Put before a body is sent again.
    pub const fn wants_probe(&self) -> bool {
        matches!(self, Self::NetworkTrouble(NetworkFault::Reset(true)))
    }
}

/// One line for log and state, with the remedy where the user has one.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::AlreadyThere => f.write_str("the blob was there already"),
            Self::MaybeThere => f.write_str("the blob is probably there; the next one will tell"),
            Self::SasRefused(fault) => write!(f, "Blob storage answers 403: {fault}"),
            Self::ContainerMissing => f.write_str(
                "Blob storage answers 404: the container does not exist: create it, or correct \
                 containerSasUrl",
            ),
            Self::SegmentRefused(reply) => {
                let code = reply.code.as_deref().unwrap_or("no code");
                write!(
                    f,
                    "Blob storage refuses this segment ({}, {code})",
                    reply.status
                )
            }
            Self::Md5Mismatch => {
                f.write_str("the segment was changed on its way (MD5 mismatch): it is sent again")
            }
            Self::Throttled(_) => f.write_str("Blob storage asks to slow down"),
            Self::ServerTrouble(status, _) => {
                write!(f, "Blob storage has trouble of its own (status {status})")
            }
            Self::NotBlobStorage(Some(status)) => write!(
                f,
                "what answers is not Blob storage (status {status}): look for a proxy or a login \
                 page in the network, or correct containerSasUrl"
            ),
            Self::NotBlobStorage(None) => f.write_str(
                "what answers is not Blob storage (not HTTP): look for a proxy in the network, or \
                 correct containerSasUrl",
            ),
            Self::NetworkTrouble(fault) => fault.fmt(f),
            Self::TlsRefused(why) => write!(
                f,
                "no secure connection to Blob storage ({why}): check the gateway's clock and \
                 trustedCertificatesPath"
            ),
            Self::Aborted => f.write_str("the card failed while the segment was sent"),
            Self::Cancelled => f.write_str("the upload was cancelled"),
        }
    }
}

impl fmt::Display for SasFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the SAS has expired: put a new one in containerSasUrl, then SIGHUP",
            Self::NotYetValid => {
                "the SAS is not valid yet: check the gateway's clock, or wait for its start"
            }
            Self::RightMissing => {
                "the SAS lacks the right to create blobs: put one with sp=c in containerSasUrl, \
                 then SIGHUP"
            }
            Self::Protocol => "the SAS is for another protocol: use an https:// containerSasUrl",
            Self::Address => {
                "the SAS does not allow this gateway's address (sip): put another \
                              one in containerSasUrl, then SIGHUP"
            }
            Self::Account => "the storage account is disabled or takes no SAS: ask its owner",
            Self::Wrong => {
                "the SAS is refused (wrong, revoked, or kept out by the account's firewall): put \
                 a new one in containerSasUrl, then SIGHUP"
            }
        })
    }
}

impl fmt::Display for NetworkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name of the storage account is not found: check the network's DNS",
            Self::Connection => "no connection to Blob storage: check the network",
            Self::Reset(_) => "the connection to Blob storage broke",
            Self::Stalled => "the connection to Blob storage stalled",
        })
    }
}

/// A 403 that says "it is there" or "the SAS lacks the right", until another segment's answer
/// with the same SAS tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Not settled by this answer.
    Open,
    /// The SAS has the right, so the blob is there.
    ItIsThere,
    /// The SAS lacks the right: the segment must be sent again with another one.
    NotThere,
}

impl Doubt {
    /// What the verdict on the next segment, sent with the same SAS, says about the doubtful one.
    pub const fn settle(next: &Verdict) -> Self {
        match next {
            Verdict::Stored => Self::ItIsThere,
            Verdict::SasRefused(SasFault::RightMissing) => Self::NotThere,
            _ => Self::Open,
        }
    }
}

fn error_code(text: &str) -> Option<ErrorCode> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| ErrorCode::try_from(text).ok()).flatten()
}

/// `<Code>` of `<?xml ..?><Error><Code>..</Code><Message>..`, within [`ANSWER_BODY_MAX`].
fn code_of_body(body: &[u8]) -> Option<ErrorCode> {
    let text = String::from_utf8_lossy(body.get(..ANSWER_BODY_MAX).unwrap_or(body));
    let (_, error) = text.split_once("<Error>")?;
    let (_, code) = error.split_once("<Code>")?;
    let (code, _) = code.split_once("</Code>")?;
    error_code(code.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, code: &str) -> Answer {
        Answer::Reply(Reply::new(status, Some(code), None, b""))
    }

    fn verdict(status: u16, code: &str) -> Verdict {
        judge(&reply(status, code), &AttemptFacts::default())
    }

    #[test]
    fn answers_of_the_service_and_of_azurite() {
        use Verdict::{AlreadyThere, ContainerMissing, Md5Mismatch, SasRefused, Stored};
        for (status, code, expected) in [
            (201, "", Stored),
            (409, "BlobAlreadyExists", AlreadyThere),
            (412, "ConditionNotMet", AlreadyThere),
            (412, "", AlreadyThere),
            (403, "UnauthorizedBlobOverwrite", AlreadyThere),
            (
                403,
                "AuthorizationPermissionMismatch",
                SasRefused(SasFault::RightMissing),
            ),
            (
                403,
                "AuthorizationProtocolMismatch",
                SasRefused(SasFault::Protocol),
            ),
            (
                403,
                "AuthorizationSourceIPMismatch",
                SasRefused(SasFault::Address),
            ),
            (403, "AuthenticationFailed", SasRefused(SasFault::Wrong)),
            (403, "AuthorizationFailure", SasRefused(SasFault::Wrong)),
            (403, "AccountIsDisabled", SasRefused(SasFault::Account)),
            (403, "", SasRefused(SasFault::Wrong)),
            (
                401,
                "NoAuthenticationInformation",
                SasRefused(SasFault::Wrong),
            ),
            (
                400,
                "InvalidAuthenticationInfo",
                SasRefused(SasFault::Wrong),
            ),
            (404, "ContainerNotFound", ContainerMissing),
            (404, "", ContainerMissing),
            (409, "ContainerBeingDeleted", ContainerMissing),
            (400, "Md5Mismatch", Md5Mismatch),
            (429, "", Verdict::Throttled(None)),
            (503, "ServerBusy", Verdict::Throttled(None)),
            (500, "InternalError", Verdict::ServerTrouble(500, None)),
            (500, "OperationTimedOut", Verdict::ServerTrouble(500, None)),
            (408, "", Verdict::ServerTrouble(408, None)),
            (200, "", Verdict::NotBlobStorage(Some(200))),
            (302, "", Verdict::NotBlobStorage(Some(302))),
            (407, "", Verdict::NotBlobStorage(Some(407))),
        ] {
            assert_eq!(verdict(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_segment_refused_for_itself() {
        for (status, code) in [
            (400, ""),
            (400, "InvalidMd5"),
            (400, "InvalidHeaderValue"),
            (409, "BlobImmutableDueToPolicy"),
            (411, "MissingContentLengthHeader"),
            (412, "LeaseIdMissing"),
            (413, "RequestBodyTooLarge"),
            (414, ""),
        ] {
            assert!(
                matches!(verdict(status, code), Verdict::SegmentRefused(_)),
                "{status} {code}"
            );
        }
        assert_eq!(
            verdict(413, "RequestBodyTooLarge").to_string(),
            "Blob storage refuses this segment (413, RequestBodyTooLarge)"
        );
    }

    #[test]
    fn a_permission_mismatch_is_doubtful_only_after_a_noted_attempt() {
        let attempt = AttemptFacts {
            may_be_there: true,
            ..AttemptFacts::default()
        };
        let answer = reply(403, "AuthorizationPermissionMismatch");
        assert_eq!(judge(&answer, &attempt), Verdict::MaybeThere);
        let without_right = AttemptFacts {
            lacks_right: true,
            ..attempt
        };
        assert_eq!(
            judge(&answer, &without_right),
            Verdict::SasRefused(SasFault::RightMissing)
        );
        for (next, doubt) in [
            (verdict(201, ""), Doubt::ItIsThere),
            (
                verdict(403, "AuthorizationPermissionMismatch"),
                Doubt::NotThere,
            ),
            (verdict(403, "AuthenticationFailed"), Doubt::Open),
            // That one had been delivered before, too: it says nothing about the SAS.
            (Verdict::AlreadyThere, Doubt::Open),
            (Verdict::MaybeThere, Doubt::Open),
            (verdict(503, ""), Doubt::Open),
        ] {
            assert_eq!(Doubt::settle(&next), doubt);
        }
    }

    #[test]
    fn the_clock_tells_an_expired_sas_from_a_wrong_one() {
        for (sas, fault) in [
            (SasWindow::Expired, SasFault::Expired),
            (SasWindow::NotYetValid, SasFault::NotYetValid),
            (SasWindow::Valid, SasFault::Wrong),
            (SasWindow::Unknown, SasFault::Wrong),
        ] {
            let attempt = AttemptFacts {
                may_be_there: true,
                sas,
                ..AttemptFacts::default()
            };
            for code in ["AuthenticationFailed", "AuthorizationFailure"] {
                let verdict = judge(&reply(403, code), &attempt);
                assert_eq!(verdict, Verdict::SasRefused(fault));
            }
        }
    }

    #[test]
    fn what_never_reached_the_service() {
        let judge = |answer| judge(&answer, &AttemptFacts::default());
        let network = Verdict::NetworkTrouble;
        assert_eq!(
            judge(Answer::NotConnected),
            network(NetworkFault::Connection)
        );
        assert_eq!(judge(Answer::NameNotFound), network(NetworkFault::Name));
        assert_eq!(
            judge(Answer::Stalled { sent: 5 }),
            network(NetworkFault::Stalled)
        );
        assert_eq!(judge(Answer::NotHttp), Verdict::NotBlobStorage(None));
        assert_eq!(judge(Answer::Aborted { sent: 1 }), Verdict::Aborted);
        assert_eq!(judge(Answer::Cancelled { sent: 1 }), Verdict::Cancelled);
        assert!(judge(Answer::Reset { sent: 1 }).wants_probe());
        assert!(!judge(Answer::Reset { sent: 0 }).wants_probe());
        assert!(matches!(
            judge(Answer::TlsFailed("x".into())),
            Verdict::TlsRefused(_)
        ));
    }

    #[test]
    fn an_attempt_without_an_answer_may_have_stored_the_blob() {
        for (answer, may_be_there) in [
            (Answer::Reset { sent: 10 }, true),
            (Answer::Stalled { sent: 10 }, true),
            (Answer::Aborted { sent: 10 }, true),
            (Answer::Cancelled { sent: 10 }, true),
            (Answer::Reset { sent: 9 }, false),
            (Answer::NotHttp, true),
            (reply(502, ""), true),
            (reply(403, ""), false),
            (Answer::NotConnected, false),
        ] {
            assert_eq!(answer.may_be_there(10), may_be_there, "{answer:?}");
        }
    }

    #[test]
    fn a_probe_finds_its_own_blob_of_before() {
        let attempt = AttemptFacts {
            may_be_there: true,
            ..AttemptFacts::default()
        };
        for (status, code, good) in [
            (201, "", true),
            (409, "BlobAlreadyExists", true),
            (403, "UnauthorizedBlobOverwrite", true),
            (403, "AuthorizationPermissionMismatch", true),
            (403, "AuthenticationFailed", false),
            (404, "ContainerNotFound", false),
        ] {
            assert_eq!(judge(&reply(status, code), &attempt).is_good_probe(), good);
        }
    }

    #[test]
    fn the_code_is_read_from_header_or_body() {
        let xml = b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Me";
        let code = |header: Option<&str>, body: &[u8]| Reply::new(404, header, None, body).code;
        assert_eq!(code(None, xml).as_deref(), Some("ContainerNotFound"));
        assert_eq!(code(Some("A1"), xml).as_deref(), Some("A1"));
        assert_eq!(
            code(Some("no code"), xml).as_deref(),
            Some("ContainerNotFound")
        );
        assert_eq!(code(None, b"<Error><Code>evil\r\n</x>"), None);
        assert_eq!(code(None, b"<Error><Code>\x1b[31m</Code>"), None);
        let long = "x".repeat(65);
        assert_eq!(code(Some(&long), b""), None);
        let mut late = vec![b' '; ANSWER_BODY_MAX];
        late.extend_from_slice(xml);
        assert_eq!(code(None, &late), None);
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_bounded() {
        let after = |text| Reply::new(503, None, Some(text), b"").retry_after;
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after(" 0 "), Some(Duration::ZERO));
        assert_eq!(after("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn refusals_name_their_remedy() {
        for (verdict, remedy) in [
            (verdict(403, "AuthorizationPermissionMismatch"), "sp=c"),
            (verdict(404, ""), "create it"),
            (verdict(403, ""), "SIGHUP"),
            (Verdict::TlsRefused("expired".into()), "clock"),
            (Verdict::NotBlobStorage(None), "proxy"),
        ] {
            assert!(verdict.to_string().contains(remedy), "{verdict}");
        }
    }
}
