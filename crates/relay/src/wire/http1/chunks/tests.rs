use proptest::prelude::*;

use super::*;

/// The data, the trailers, and how many bytes were left over.
type Body = (Vec<u8>, Vec<u8>, usize);

/// Feeds a body in pieces of these lengths, over and over, and gives its data, its trailers and what was left over.
fn read(mut decoder: ChunkDecoder, input: &[u8], pieces: &[usize]) -> Result<Option<Body>, Malformed> {
    let mut data = Vec::new();
    let (mut start, mut end) = (0, 0);
    for piece in pieces.iter().copied().cycle() {
        let last = end == input.len();
        end = (end + piece).min(input.len());
        loop {
            match decoder.decode(&input[start..end])? {
                Chunk::More { consumed } => {
                    start += consumed;
                    break;
                }
                Chunk::Data { skip, len } => {
                    assert_ne!(len, 0);
                    data.extend_from_slice(&input[start + skip..start + skip + len]);
                    start += skip + len;
                }
                Chunk::End { consumed, trailers } => {
                    return Ok(Some((data, trailers, input.len() - start - consumed)));
                }
            }
        }
        if last {
            return Ok(None);
        }
    }
    Ok(None)
}

fn status_of(decoder: ChunkDecoder, input: &str) -> u16 {
    read(decoder, input.as_bytes(), &[usize::MAX / 2])
        .map_or_else(|malformed| malformed.status, |ended| if ended.is_some() { 200 } else { 0 })
}

#[test]
fn a_body_is_found_between_its_chunks() {
    let input = b"5\r\nhello\r\n1\r\n \r\nA\r\nwide world\r\n0\r\n\r\nGET /";
    let read = read(ChunkDecoder::for_requests(), input, &[1000]).unwrap().unwrap();
    assert_eq!(read, (b"hello wide world".to_vec(), Vec::new(), 5));
}

#[test]
fn r64_bad_chunks_are_refused() {
    for (input, from_client, from_upstream) in [
        ("1\r\na\r\n0\r\n\r\n", 200, 200),
        ("a\r\n0123456789\r\n0\r\n\r\n", 200, 200),
        ("A\r\n0123456789\r\n0\r\n\r\n", 200, 200),
        ("0\r\n\r\n", 200, 200),
        ("01\r\na\r\n0\r\n\r\n", 400, 200),
        ("003\r\nabc\r\n0\r\n\r\n", 400, 200),
        ("1\r\na\r\n00\r\n\r\n", 400, 200),
        ("3 \r\nabc\r\n0\r\n\r\n", 400, 200),
        ("3\t\r\nabc\r\n0\r\n\r\n", 400, 200),
        ("3;a=b\r\nabc\r\n0\r\n\r\n", 400, 200),
        ("3 ; a=\"b;\"\r\nabc\r\n0;x\r\n\r\n", 400, 200),
        ("3;\r\nabc\r\n0\r\n\r\n", 400, 200),
        (" 3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("3 3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("3;a\u{1}\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("3;a\rb\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("3;a\nb\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("\r\n3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("+3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("-3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("0x3\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("3h\r\nabc\r\n0\r\n\r\n", 400, 502),
        ("g\r\nabc\r\n0\r\n\r\n", 400, 502),
        (";\r\n", 400, 502),
        ("3\nabc\r\n0\r\n\r\n", 400, 502),
        ("3\rabc\r\n0\r\n\r\n", 400, 502),
        ("3\r\nabc\n0\r\n\r\n", 400, 502),
        ("3\r\nabcd\r\n0\r\n\r\n", 400, 502),
        ("3\r\nabc0\r\n\r\n", 400, 502),
        ("3\r\nabc\r\r\n0\r\n\r\n", 400, 502),
        ("0\r\n\n", 400, 502),
        ("7fffffffffffffff\r\n", 0, 0),
        ("8000000000000000\r\n", 400, 502),
        ("ffffffffffffffff\r\n", 400, 502),
        ("10000000000000000\r\n", 400, 502),
        ("fffffffffffffffff", 400, 502),
        ("3", 0, 0),
        ("3\r\nab", 0, 0),
        ("3\r\nabc\r\n0\r\n", 0, 0),
    ] {
        assert_eq!(status_of(ChunkDecoder::for_requests(), input), from_client, "{input:?} from a client");
        assert_eq!(
            status_of(ChunkDecoder::for_answers(), input),
            from_upstream,
            "{input:?} from an upstream"
        );
    }
}

#[test]
fn r59_extensions_without_end_are_refused() {
    let input = format!("3;{}", "a".repeat(LENIENT_LINE));
    assert_eq!(status_of(ChunkDecoder::for_answers(), &input), 502);
    assert_eq!(status_of(ChunkDecoder::for_answers(), input.get(..LENIENT_LINE).unwrap()), 0);
    let zeros = "0".repeat(LENIENT_LINE + 1);
    assert_eq!(status_of(ChunkDecoder::for_answers(), &zeros), 502);
}

#[test]
fn r64_trailers_that_could_be_taken_for_more_are_refused() {
    for (trailers, from_client, kept) in [
        ("X-Checksum: abc\r\ngrpc-status:0\r\n", 200, "X-Checksum: abc\r\ngrpc-status: 0\r\n"),
        ("Remote-User: root\r\nA: b\r\nX-Forwarded-For: c\r\nForwarded: d\r\n", 200, "A: b\r\n"),
        ("Fallgate-Assertion: x\r\n", 200, ""),
        ("Empty:\r\n", 200, "Empty: \r\n"),
        ("Content-Length: 5\r\n", 400, ""),
        ("transfer-encoding: chunked\r\n", 400, ""),
        ("Host: b\r\n", 400, ""),
        ("Authorization: Bearer x\r\n", 400, ""),
        ("Cookie: a=b\r\n", 400, ""),
        ("Set-Cookie: a=b\r\n", 400, ""),
        ("Connection: close\r\n", 400, ""),
        ("TE: trailers\r\n", 400, ""),
        ("Trailer: a\r\n", 400, ""),
        ("Upgrade: x\r\n", 400, ""),
        ("Proxy-Authorization: x\r\n", 400, ""),
        ("Location: /\r\n", 400, ""),
        ("Content-Type: a/b\r\n", 400, ""),
        ("content-ENCODING: gzip\r\n", 400, ""),
        ("Cache-Control: no-store\r\n", 400, ""),
        ("Range: bytes=0-\r\n", 400, ""),
        ("WWW-Authenticate: Basic\r\n", 400, ""),
        ("Origin: x\r\n", 400, ""),
    ] {
        let input = format!("1\r\na\r\n0\r\n{trailers}\r\n");
        assert_eq!(status_of(ChunkDecoder::for_requests(), &input), from_client, "{trailers:?}");
        let read = read(ChunkDecoder::for_answers(), input.as_bytes(), &[1000]).unwrap().unwrap();
        assert_eq!(read, (b"a".to_vec(), kept.as_bytes().to_vec(), 0), "{trailers:?}");
    }
}

#[test]
fn r64_malformed_trailers_are_refused() {
    for trailers in [
        "A: b\n\r\n",
        "A: b\n\n",
        "A : b\r\n\r\n",
        "A\r\n\r\n",
        "A: b\r\n c\r\n\r\n",
        "A: b\rC: d\r\n\r\n",
        "A: \0\r\n\r\n",
        ": b\r\n\r\n",
    ] {
        let input = format!("1\r\na\r\n0\r\n{trailers}");
        assert_eq!(status_of(ChunkDecoder::for_requests(), &input), 400, "{trailers:?}");
        assert_eq!(status_of(ChunkDecoder::for_answers(), &input), 502, "{trailers:?}");
    }
    assert_eq!(status_of(ChunkDecoder::for_requests(), "0\r\nA_B: c\r\n\r\n"), 400);
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(101));
    assert_eq!(status_of(ChunkDecoder::for_requests(), &many), 431);
    let long = format!("0\r\nA: {}", "b".repeat(16 * 1024));
    assert_eq!(status_of(ChunkDecoder::for_requests(), &long), 431);
    assert_eq!(status_of(ChunkDecoder::for_answers(), &long), 502);
}

#[test]
fn nothing_is_read_behind_the_end() {
    let mut decoder = ChunkDecoder::for_requests();
    assert_eq!(decoder.decode(b"0\r\n\r\nGET"), Ok(Chunk::End { consumed: 5, trailers: Vec::new() }));
    assert_eq!(decoder.decode(b"GET"), Ok(Chunk::End { consumed: 0, trailers: Vec::new() }));
}

#[test]
fn chunk_heads_are_the_size_in_hex() {
    for (len, line) in [
        (1, "1\r\n"),
        (10, "a\r\n"),
        (16, "10\r\n"),
        (65_536, "10000\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_head(&mut out, len);
        assert_eq!(out, line.as_bytes());
    }
    let mut out = Vec::new();
    write_last_chunk(&mut out, b"");
    assert_eq!(out, LAST_CHUNK);
}

proptest! {
    #[test]
    fn what_is_written_in_chunks_is_read_back_in_whatever_pieces(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        trailers in prop::sample::select(vec!["", "A: b\r\n", "A: b\r\nC: \r\n"]),
        pieces in prop::collection::vec(1usize..50, 1..8),
        lenient in any::<bool>(),
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            write_chunk_head(&mut input, chunk.len());
            input.extend_from_slice(chunk);
            input.extend_from_slice(CHUNK_END);
        }
        write_last_chunk(&mut input, trailers.as_bytes());
        let decoder = if lenient { ChunkDecoder::for_answers() } else { ChunkDecoder::for_requests() };
        let (data, kept, _) = read(decoder, &input, &pieces).unwrap().unwrap();
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(kept, trailers.as_bytes());
    }

    #[test]
    fn r59_any_bytes_in_any_pieces_are_read_alike(
        input in "[0-9a-f;: \r\nA-C]{0,60}",
        pieces in prop::collection::vec(1usize..9, 1..5),
        lenient in any::<bool>(),
    ) {
        let decoder = || if lenient { ChunkDecoder::for_answers() } else { ChunkDecoder::for_requests() };
        let whole = read(decoder(), input.as_bytes(), &[1000]);
        let pieced = read(decoder(), input.as_bytes(), &pieces);
        match (whole, pieced) {
            (Ok(Some((data, trailers, _))), Ok(Some((data_again, trailers_again, _)))) => {
                prop_assert_eq!((data, trailers), (data_again, trailers_again));
            }
            (whole, pieced) => prop_assert_eq!(whole.is_ok(), pieced.is_ok()),
        }
    }
}
