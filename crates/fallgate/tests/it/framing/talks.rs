//! Several things said on one connection, in one go: where one request ends and the next begins is what the client, the
//! gate and the upstream must not see differently. The placeholders are those of [`super::corpus`].

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It takes the next request.
    Open,
    /// It is closed, without another byte.
    Closed,
}

/// What is said, and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) name: &'static str,
    pub(crate) bytes: &'static [u8],
    /// The status of each answer that the client gets, in order.
    pub(crate) told: &'static [u16],
    /// What the upstream sees, in order, for the answers that are 200: method, target and how many bytes of body.
    pub(crate) seen: &'static [(&'static str, &'static str, usize)],
    pub(crate) after: After,
}

use After::{Closed, Open};

const fn talk(
    name: &'static str,
    bytes: &'static [u8],
    told: &'static [u16],
    seen: &'static [(&'static str, &'static str, usize)],
    after: After,
) -> Talk {
    Talk { name, bytes, told, seen, after }
}

const X: (&str, &str, usize) = ("GET", "/x", 0);
const Y: (&str, &str, usize) = ("GET", "/y", 0);

/// All of them.
pub(crate) const TALKS: &[Talk] = &[
    // A whole request, and another behind it.
    talk("two GETs", b"GET {p}/x HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[X, Y], Open),
    talk("a length, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("length 0, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 0), Y], Open),
    talk("no length, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 0), Y], Open),
    talk("chunks, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("no chunks, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 0), Y], Open),
    talk("a chunk that looks like an end, then a GET", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 5), Y], Open),
    talk("a chunk that looks like a request", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n1d\r\nGET /evil HTTP/1.1\r\nHost: x\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[400], &[], Closed),
    talk("a chunk that is a request", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n1f\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 31), Y], Open),
    talk("a body that is a request", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 31), Y], Open),
    talk("a GET with a body that is a request", b"GET {p}/x HTTP/1.1\r\n{h}Content-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("GET", "/x", 31), Y], Open),
    talk("a GET in chunks that are a request", b"GET {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n1f\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("GET", "/x", 31), Y], Open),
    talk("a DELETE with a body", b"DELETE {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("DELETE", "/x", 3), Y], Open),
    talk("an OPTIONS in chunks", b"OPTIONS {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("OPTIONS", "/x", 3), Y], Open),
    talk("a HEAD, then a GET", b"HEAD {p}/x HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("HEAD", "/x", 0), Y], Open),
    talk("a HEAD with a body that is a request", b"HEAD {p}/x HTTP/1.1\r\n{h}Content-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("HEAD", "/x", 31), Y], Open),
    talk("a HEAD in chunks", b"HEAD {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("HEAD", "/x", 3), Y], Open),
    talk("three HEADs", b"HEAD {p}/x HTTP/1.1\r\n{h}\r\nHEAD {p}/y HTTP/1.1\r\n{h}\r\nHEAD {p}/z HTTP/1.1\r\n{h}\r\n", &[200, 200, 200], &[("HEAD", "/x", 0), ("HEAD", "/y", 0), ("HEAD", "/z", 0)], Open),
    // Odd, and beyond doubt all the same.
    talk("a tab before chunked", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("blanks behind chunked", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("ChUnKeD", b"POST {p}/x HTTP/1.1\r\n{h}tRANSFER-eNCODING: ChUnKeD\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("blanks around a length", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length:\t 3 \t\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("a size in capitals", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\nB\r\nabcdefghijk\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 11), Y], Open),
    talk("Connection names the coding", b"POST {p}/x HTTP/1.1\r\n{h}Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("Connection names the length", b"POST {p}/x HTTP/1.1\r\n{h}Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("Connection names Host and Trailer", b"POST {p}/x HTTP/1.1\r\n{h}Connection: Host, Trailer, TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("TE: chunked", b"POST {p}/x HTTP/1.1\r\n{h}TE: chunked\r\nConnection: TE\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 0), Y], Open),
    talk("an encoding that is called chunked", b"POST {p}/x HTTP/1.1\r\n{h}Content-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("a trailer announced that would frame", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nTrailer: Content-Length, Transfer-Encoding\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("trailers of our own names", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nRemote-User: root\r\nX-Forwarded-For: 1.2.3.4\r\nFallgate-Token: x\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("fields that look like framing", b"POST {p}/x HTTP/1.1\r\n{h}X-Content-Length: 40\r\nContent-Lengths: 40\r\nX-Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("fields that override elsewhere", b"POST {p}/x HTTP/1.1\r\n{h}X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\nX-Forwarded-Prefix: /evil\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("an encoded request line in the path", b"GET {p}/x%20HTTP/1.1 HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("GET", "/x%20HTTP/1.1", 0), Y], Open),
    talk("an encoded head in the query", b"GET {p}/x?%20HTTP/1.1%0d%0aHost:%20evil%0d%0a%0d%0aGET%20/evil HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("GET", "/x?%20HTTP/1.1%0d%0aHost:%20evil%0d%0a%0d%0aGET%20/evil", 0), Y], Open),
    talk("an expectation, and the body at once", b"POST {p}/x HTTP/1.1\r\n{h}Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("an expectation of no body", b"GET {p}/x HTTP/1.1\r\n{h}Expect: 100-continue\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[X, Y], Open),
    talk("HTTP/1.0, kept alive", b"POST {p}/x HTTP/1.0\r\n{h}Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabcGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[("POST", "/x", 3), Y], Open),
    talk("Proxy-Connection: close", b"GET {p}/x HTTP/1.1\r\n{h}Proxy-Connection: close\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[X, Y], Open),
    talk("Connection: upgrade to nothing", b"GET {p}/x HTTP/1.1\r\n{h}Connection: upgrade\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[200, 200], &[X, Y], Open),
    // The first is whole; what is behind it is no request.
    talk("more body than the length says", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabcdef", &[200, 400], &[("POST", "/x", 3)], Closed),
    talk("a body without a length", b"POST {p}/x HTTP/1.1\r\n{h}\r\nabc", &[200, 400], &[("POST", "/x", 0)], Closed),
    talk("an empty line behind a body", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabc\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[("POST", "/x", 3)], Closed),
    talk("an empty line behind the last chunk", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[("POST", "/x", 0)], Closed),
    talk("two ends", b"POST {p}/x HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[("POST", "/x", 0)], Closed),
    talk("chunks behind a length", b"POST {p}/x HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabc3\r\nabc\r\n0\r\n\r\n", &[200, 400], &[("POST", "/x", 3)], Closed),
    talk("a NUL behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\n\0GET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[X], Closed),
    talk("HTTP/2's preface behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", &[200, 400], &[X], Closed),
    talk("a TLS greeting behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[200, 400], &[X], Closed),
    talk("HTTP/0.9 behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\nGET {p}/evil\r\n\r\n", &[200, 400], &[X], Closed),
    talk("CONNECT behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\nCONNECT evil.example:443 HTTP/1.1\r\n{h}\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 405], &[X], Closed),
    talk("two lengths behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\nPOST {p}/x HTTP/1.1\r\n{h}Content-Length: 1\r\nContent-Length: 2\r\n\r\nabGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[X], Closed),
    talk("another host behind a request", b"GET {p}/x HTTP/1.1\r\n{h}\r\nGET http://evil.example{p}/evil HTTP/1.1\r\n{h}\r\n", &[200, 400], &[X], Closed),
    // The connection ends with the first, whatever is behind it.
    talk("Connection: close", b"GET {p}/x HTTP/1.1\r\n{h}Connection: close\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    talk("Connection: close and keep-alive", b"GET {p}/x HTTP/1.1\r\n{h}Connection: keep-alive, close\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    talk("close behind a body", b"POST {p}/x HTTP/1.1\r\n{h}Connection: close\r\nContent-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[("POST", "/x", 3)], Closed),
    talk("HTTP/1.0", b"GET {p}/x HTTP/1.0\r\n{h}\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    talk("HTTP/1.0 with a body", b"POST {p}/x HTTP/1.0\r\n{h}Content-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[("POST", "/x", 3)], Closed),
    talk("a WebSocket that is not opened", b"GET {p}/x HTTP/1.1\r\n{h}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    talk("h2c that is not spoken", b"GET {p}/x HTTP/1.1\r\n{h}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    talk("h2c asked for with a body", b"POST {p}/x HTTP/1.1\r\n{h}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[("POST", "/x", 3)], Closed),
    talk("an upgrade to what nobody knows", b"GET {p}/x HTTP/1.1\r\n{h}Connection: Upgrade\r\nUpgrade: evil/1\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[200], &[X], Closed),
    // Refused, and whole: the next one counts again.
    talk("nobody's GET", b"GET {p}/x HTTP/1.1\r\nHost: {host}\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[401, 200], &[Y], Open),
    talk("a bad path", b"GET {p}/a%2fb HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[400, 200], &[Y], Open),
    talk("a path out of the route", b"GET {p}/../evil HTTP/1.1\r\n{h}\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[400, 200], &[Y], Open),
    talk("an unknown host", b"GET {p}/x HTTP/1.1\r\nHost: evil.example\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[421, 200], &[Y], Open),
    talk("nobody's length 0", b"POST {p}/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\nGET {p}/y HTTP/1.1\r\n{h}\r\n", &[401, 200], &[Y], Open),
    // Refused, with a body that nobody reads: nothing behind it counts.
    talk("nobody's body", b"POST {p}/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[401], &[], Closed),
    talk("nobody's chunks", b"POST {p}/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[401], &[], Closed),
    talk("nobody's expectation", b"POST {p}/x HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[401], &[], Closed),
    talk("nobody's WebSocket", b"GET {p}/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[401], &[], Closed),
    talk("a bad path with a body", b"POST {p}/a%2fb HTTP/1.1\r\n{h}Content-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[400], &[], Closed),
    talk("an unknown host with a body", b"POST {p}/x HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 3\r\n\r\nabcGET {p}/evil HTTP/1.1\r\n{h}\r\n", &[421], &[], Closed),
];
