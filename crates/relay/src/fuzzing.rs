//! What the fuzz targets hold the codec to. Each function takes any bytes and panics where a promise is broken.

use crate::wire::http1::{
    AnswerHead, BodyKind, CHUNK_END, Chunk, ChunkDecoder, FieldId, HeadLimits, Malformed, Progress,
    RequestHead, Span, Version, write_chunk_head, write_last_chunk,
};
use crate::wire::http2::paths::Paths;
use crate::wire::http2::{Framed, to_http1};
use crate::wire::hygiene::{Downward, Identity, Rewrite, Told, Upward, write_answer, write_request};
use crate::wire::websocket::FrameTracker;

use fallgate_domain::path::{CanonicalPath, split_target};
use http::{HeaderName, HeaderValue, Method, Request, Uri};

const LIMITS: HeadLimits = HeadLimits { max_bytes: 4096, max_fields: 20 };
/// What we write ourselves may be longer than what it was made of.
const OWN_LIMITS: HeadLimits = HeadLimits { max_bytes: 1 << 20, max_fields: 200 };

/// Request heads: read alike in whatever pieces they come, and what goes up reads as it was meant.
pub fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let parsed = head.parse(data, &LIMITS);
    let mut dripped = RequestHead::default();
    let in_pieces = in_pieces(data, |seen| dripped.parse(seen, &LIMITS));
    assert_alike(parsed, in_pieces);
    if parsed != Ok(Progress::Complete) {
        return;
    }
    assert_eq!((head.len(), head.target()), (dripped.len(), dripped.target()));
    assert!(data.get(..head.len()).unwrap_or_default().ends_with(b"\r\n\r\n"));
    for field in head.fields() {
        assert_clean(field.name, field.value, data);
        assert!(!field.name.of(data).contains(&b'_'));
    }
    let Ok((path, query)) = split_target(head.target().of(data)) else { return };
    let Ok(path) = CanonicalPath::parse(path) else { return };
    for body in [head.body(), BodyKind::Chunked, BodyKind::Length(7)] {
        goes_up(&head, data, path.as_str(), query, body);
    }
}

fn goes_up(head: &RequestHead, data: &[u8], path: &str, query: Option<&str>, body: BodyKind) {
    let identity = Identity { user: "alice", name: "Al\r\nice", groups: "user", email: "" };
    let up = Upward {
        path,
        query,
        host: None,
        client: None,
        proto: "http",
        forwarded_host: head.host().of(data),
        prefix: None,
        strip_authorization: true,
        identity: Some(identity),
        assertion: None,
        inject: &[],
        body,
        upgrade: None,
    };
    let mut out = Vec::new();
    write_request(&mut out, head, data, &up);
    let mut again = RequestHead::default();
    assert_eq!(again.parse(&out, &OWN_LIMITS), Ok(Progress::Complete), "{:?}", String::from_utf8_lossy(&out));
    assert_eq!((again.len(), again.body()), (out.len(), body));
    assert_eq!(
        (again.method().of(&out), again.host().of(&out)),
        (head.method().of(data), head.host().of(data))
    );
    let (path_again, query_again) = split_target(again.target().of(&out)).unwrap_or_default();
    assert_eq!((path_again, query_again), (path.as_bytes(), query));
    // Three forwarded, four of identity: none that the client sent.
    assert_eq!(again.fields().iter().filter(|field| field.id == FieldId::Namespace).count(), 7);
    assert_eq!((again.field(FieldId::Authorization), again.field(FieldId::Expect)), (None, None));
    for cookies in again.fields_of(FieldId::Cookie) {
        for cookie in cookies.of(&out).split(|&byte| byte == b';') {
            let name = cookie.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
            assert!(name != b"fallgate" && name != b"__Host-fallgate");
        }
    }
}

/// Requests by HTTP/2, written down as HTTP/1.1: a line each for method, target and authority, then fields. What is
/// written reads as one head, whole, and says the same.
pub fn http2_head(data: &[u8]) {
    let (ends, data) = flag(data);
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, target, authority) = (line(), line(), line());
    let mut request = Request::new(());
    let Ok(method) = Method::from_bytes(method) else { return };
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(target).build();
    let Ok(uri) = uri else { return };
    (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri.clone());
    for field in lines {
        let mut halves = field.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_lowercase(halves.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(halves.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    let given = request.headers().len();
    let (parts, ()) = request.into_parts();
    let Ok((written, framed)) = to_http1(&parts, ends) else { return };
    let mut head = RequestHead::default();
    match head.parse(&written, &OWN_LIMITS) {
        Ok(progress) => assert_eq!((progress, head.len()), (Progress::Complete, written.len())),
        Err(_) => return,
    }
    assert_eq!(head.method().of(&written), method.as_str().as_bytes());
    assert_eq!(
        Some(head.target().of(&written)),
        uri.path_and_query().map(|target| target.as_str().as_bytes())
    );
    assert_eq!(
        Some(head.host().of(&written)),
        uri.authority().map(|authority| authority.as_str().as_bytes())
    );
    // Its host and its framing, and no field that was not among those given.
    assert!(head.fields().len() <= given + 2, "{:?}", String::from_utf8_lossy(&written));
    match framed {
        Framed::Empty => assert_ne!(head.body(), BodyKind::Chunked),
        Framed::Plain => assert!(matches!(head.body(), BodyKind::Length(_))),
        Framed::Chunks => assert_eq!(head.body(), BodyKind::Chunked),
    }
}

/// Compressed heads of HTTP/2, one behind the other: read alike in whatever pieces they come.
pub fn http2_paths(data: &[u8]) {
    let (mut whole, mut pieces) = (Paths::new(), Paths::new());
    for head in data.chunks(64) {
        let (one, two) = head.split_at(head.len() / 2);
        let read = whole.take(head, true);
        assert_eq!(pieces.take(one, false), Ok(None));
        assert_eq!(pieces.take(two, true), read);
        if read.is_err() {
            return;
        }
    }
}

/// Heads of answers: as with requests.
pub fn answer_head(data: &[u8]) {
    let (to_head, data) = flag(data);
    let mut head = AnswerHead::default();
    let parsed = head.parse(data, &LIMITS, to_head);
    let mut dripped = AnswerHead::default();
    let in_pieces = in_pieces(data, |seen| dripped.parse(seen, &LIMITS, to_head));
    assert_alike(parsed, in_pieces);
    if parsed != Ok(Progress::Complete) {
        return;
    }
    assert_eq!((head.len(), head.body()), (dripped.len(), dripped.body()));
    for field in head.fields() {
        assert_clean(field.name, field.value, data);
    }
    let rewrite = Rewrite { upstream_origin: "http://up", told: Told::Public(b"box"), prefix: Some("/app") };
    for (client, close) in [(Version::Http11, false), (Version::Http11, true), (Version::Http10, false)] {
        let down = Downward { client, close, own_origin: close, rewrite: Some(rewrite) };
        let mut out = Vec::new();
        let body = write_answer(&mut out, &head, data, &down);
        let mut again = AnswerHead::default();
        assert_eq!(again.parse(&out, &OWN_LIMITS, to_head), Ok(Progress::Complete));
        assert_eq!((again.len(), again.status(), again.body()), (out.len(), head.status(), body));
        assert_eq!(again.keep_alive(), !close && body != BodyKind::UntilClose);
    }
}

/// Bodies in chunks: read alike in whatever pieces they come, and what is framed anew reads as the same body.
pub fn chunks(data: &[u8]) {
    let (lenient, data) = flag(data);
    let decoder = || if lenient { ChunkDecoder::for_answers() } else { ChunkDecoder::for_requests() };
    let whole = read_chunks(decoder(), data, data.len().max(1));
    let pieces = read_chunks(decoder(), data, 3);
    assert_eq!(whole.is_err(), pieces.is_err());
    let (Ok(Some((body, trailers))), Ok(pieces)) = (whole, pieces) else { return };
    assert_eq!(Some((&body, &trailers)), pieces.as_ref().map(|(body, trailers)| (body, trailers)));
    let mut anew = Vec::new();
    for chunk in body.chunks(5) {
        write_chunk_head(&mut anew, chunk.len());
        anew.extend_from_slice(chunk);
        anew.extend_from_slice(CHUNK_END);
    }
    write_last_chunk(&mut anew, &trailers);
    let again = read_chunks(ChunkDecoder::for_answers(), &anew, anew.len());
    assert_eq!(again, Ok(Some((body, trailers))));
}

/// WebSocket frames: where the stream is cut makes no difference.
pub fn frames(data: &[u8]) {
    let mut whole = FrameTracker::default();
    whole.feed(data);
    let mut pieces = FrameTracker::default();
    for piece in data.chunks(3) {
        pieces.feed(piece);
    }
    assert_eq!(whole.at_boundary(), pieces.at_boundary());
}

/// The data and the trailers of a body.
type Body = (Vec<u8>, Vec<u8>);

/// The first byte decides something about the rest.
fn flag(data: &[u8]) -> (bool, &[u8]) {
    data.split_first().map_or((false, data), |(first, rest)| (first & 1 == 1, rest))
}

/// Shows a head ever longer beginnings of the data, until it has come to something.
fn in_pieces(
    data: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Progress, Malformed>,
) -> Result<Progress, Malformed> {
    for end in (0..data.len()).step_by(7) {
        let parsed = parse(data.get(..end).unwrap_or_default());
        if parsed != Ok(Progress::Partial) {
            return parsed;
        }
    }
    parse(data)
}

/// Both complete, both waiting, or both refused; what is wrong first may differ.
fn assert_alike(whole: Result<Progress, Malformed>, pieces: Result<Progress, Malformed>) {
    assert_eq!(whole.ok(), pieces.ok());
}

fn assert_clean(name: Span, value: Span, data: &[u8]) {
    assert!(!name.is_empty());
    assert!(!name.of(data).iter().chain(value.of(data)).any(|byte| b"\r\n\0".contains(byte)));
}

/// Reads a body that comes in pieces of one length; `None` if it does not end.
fn read_chunks(mut decoder: ChunkDecoder, data: &[u8], piece: usize) -> Result<Option<Body>, Malformed> {
    let mut body = Vec::new();
    let (mut start, mut end) = (0, 0);
    while end < data.len() {
        end = (end + piece).min(data.len());
        loop {
            let input = data.get(start..end).unwrap_or_default();
            match decoder.decode(input)? {
                Chunk::More { consumed } => {
                    assert!(consumed <= input.len());
                    start += consumed;
                    break;
                }
                Chunk::Data { skip, len } => {
                    assert!(len > 0 && skip + len <= input.len());
                    body.extend_from_slice(input.get(skip..skip + len).unwrap_or_default());
                    start += skip + len;
                }
                Chunk::End { consumed, trailers } => {
                    assert!(consumed <= input.len());
                    return Ok(Some((body, trailers)));
                }
            }
        }
    }
    Ok(None)
}
