//! Streams of frames, cut in every way.

use proptest::prelude::*;

use super::*;

/// What the guard under test lets pass.
const LONGEST: u64 = 200_000;

/// A frame on channel 1.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    frame_on(1, kind, payload)
}

fn frame_on(channel: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, channel], &size[..], payload, &[FRAME_END]].concat()
}

/// A content header that announces so many bytes.
fn announce(channel: u8, bytes: u64) -> Vec<u8> {
    let mut payload = header(0, &[]);
    payload[4..12].copy_from_slice(&bytes.to_be_bytes());
    frame_on(channel, HEADER, &payload)
}

/// The payload of a content header: flags, then properties.
fn header(flags: u16, properties: &[&[u8]]) -> Vec<u8> {
    let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    [&fixed[..], &flags.to_be_bytes(), &properties.concat()].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn table(levels: usize) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..levels {
        entries = [b"\x01dF", &with_length(&entries)[..]].concat();
    }
    with_length(&entries)
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

/// All properties, in order. `headers` and `id` are those under test, whole.
fn all(headers: Option<&[u8]>, id: Option<&[u8]>) -> Vec<u8> {
    let mut flags = 0xFFFC;
    let mut absent = |bit: u16, property: Option<&[u8]>| {
        flags &= if property.is_some() { !0 } else { !(1 << bit) };
        property.unwrap_or_default().to_vec()
    };
    let (headers, id) = (absent(13, headers), absent(7, id));
    let parts = [
        text(b"application/json"),
        text(b""),
        headers,
        vec![2],
        vec![255],
        text(b"correlation"),
        text(b"reply"),
        text(b"60000"),
        id,
        7u64.to_be_bytes().to_vec(),
        text("tüp".as_bytes()),
        text(b"guest"),
        text(&[b'a'; 255]),
        text(b"cluster"),
    ];
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    header(flags, &parts)
}

/// What comes out of `input` in pieces, into outputs of `room` bytes.
fn filtered<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    room: usize,
) -> (Vec<u8>, Result<(), Malformed>) {
    let (mut guard, mut output, mut window) = (Guard::new(LONGEST), Vec::new(), vec![0; room]);
    for mut piece in pieces {
        loop {
            match guard.filter(piece, &mut window) {
                Err(malformed) => return (output, Err(malformed)),
                Ok(progress) => {
                    output.extend_from_slice(&window[..progress.written]);
                    piece = &piece[progress.read..];
                    if progress.written == 0 {
                        assert!(piece.is_empty(), "it stands still");
                        break;
                    }
                }
            }
        }
    }
    (output, Ok(()))
}

fn whole(input: &[u8]) -> (Vec<u8>, Result<(), Malformed>) {
    filtered([input], 1 << 20)
}

#[test]
fn headers_go_and_the_rest_stays() {
    let clean = all(None, Some(&text(b"id")));
    for headers in [table(0), table(1), table(10_000), with_length(b"no table")] {
        let input = frame(HEADER, &all(Some(&headers), Some(&text(b"id"))));
        assert_eq!(whole(&input), (frame(HEADER, &clean), Ok(())));
    }
    let input = frame(HEADER, &clean);
    assert_eq!(whole(&input), (input, Ok(())));
}

#[test]
fn a_table_alone_leaves_no_properties() {
    let input = frame(HEADER, &header(1 << 13, &[&table(1000)]));
    assert_eq!(whole(&input), (frame(HEADER, &header(0, &[])), Ok(())));
}

#[test]
fn texts_that_are_not_utf_8_go() {
    let input = frame(HEADER, &all(Some(&table(3)), Some(&text(b"\xFF\xFE"))));
    assert_eq!(whole(&input), (frame(HEADER, &all(None, None)), Ok(())));
}

#[test]
fn flags_without_a_property_are_taken_away() {
    let input = frame(HEADER, &header(1 << 7 | 3, &[&text(b"id")]));
    let wanted = frame(HEADER, &header(1 << 7, &[&text(b"id")]));
    assert_eq!(whole(&input), (wanted, Ok(())));
}

fn delivery(key: &[u8]) -> Vec<u8> {
    let (consumer, exchange, key) = (text(b"ctag"), text(&[b'x'; 255]), text(key));
    let method = [0, 60, 0, 60];
    let payload = [&method[..], &consumer, &[7; 9], &exchange, &key].concat();
    frame(METHOD, &payload)
}

#[test]
fn routing_keys_are_made_readable() {
    let longest = [b'k'; 255];
    for (key, wanted) in [
        (&b"worker.a"[..], &b"worker.a"[..]),
        ("töpfer.a".as_bytes(), "töpfer.a".as_bytes()),
        (b"w\xFFrker.\xC3", b"w?rker.?"),
        (b"", b""),
        (&longest, &longest),
    ] {
        assert_eq!(whole(&delivery(key)), (delivery(wanted), Ok(())));
        assert_eq!(
            filtered(delivery(key).chunks(3), 2),
            (delivery(wanted), Ok(()))
        );
    }
}

#[test]
fn other_methods_stay_as_they_are() {
    let whole_one = delivery(b"\xFF");
    let mut other = whole_one.clone();
    other[7 + 3] = 50;
    let mut cut_off = whole_one[7..whole_one.len() - 2].to_vec();
    let cut_off_frame = frame(METHOD, &cut_off);
    cut_off.truncate(3);
    let long = frame(METHOD, &[&[0, 60, 0, 60], &[0xFF; 5000][..]].concat());
    for input in [other, cut_off_frame, frame(METHOD, &cut_off), long] {
        assert_eq!(whole(&input), (input, Ok(())));
    }
}

fn stream() -> (Vec<u8>, Vec<u8>) {
    let hostile = all(Some(&table(20)), Some(&text(b"id")));
    let clean = all(None, Some(&text(b"id")));
    let before = [delivery(b"worker.a"), frame(HEARTBEAT, b"")].concat();
    let after = [frame(BODY, b"\xCE\x02{}"), frame(METHOD, b"more")].concat();
    let hostile = frame(HEADER, &hostile);
    let clean = frame(HEADER, &clean);
    (
        [&before, &hostile, &after, &hostile, &before]
            .map(Vec::as_slice)
            .concat(),
        [&before, &clean, &after, &clean, &before]
            .map(Vec::as_slice)
            .concat(),
    )
}

#[test]
fn every_cut_gives_the_same() {
    let (input, wanted) = stream();
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        assert_eq!(filtered([first, second], 1 << 16).0, wanted, "cut at {at}");
    }
    for size in [1, 2, 3, 7, 64] {
        for room in [1, 5, 1 << 16] {
            let (output, end) = filtered(input.chunks(size), room);
            assert_eq!(
                (output.as_slice(), end),
                (&wanted[..], Ok(())),
                "{size}, {room}"
            );
        }
    }
}

#[test]
fn a_body_passes_before_it_is_complete() {
    let body = frame(BODY, &[b'x'; 100_000]);
    let (output, end) = whole(&body[..60_000]);
    assert_eq!((output.as_slice(), end), (&body[..60_000], Ok(())));
}

#[test]
fn a_body_that_is_too_long_is_cut_and_the_next_one_is_not() {
    let part = vec![b'x'; 60_000];
    let (body, other) = (frame(BODY, &part), frame_on(2, BODY, &part));
    let last = frame(BODY, &part[..20_000]);
    let input = [
        announce(1, 5 * 60_000).as_slice(),
        &body,
        &body,
        // Another channel, in between, with a body that may pass.
        &announce(2, 60_000),
        &body,
        &other,
        &body,
        &body,
        &announce(1, 60_000),
        &body,
    ]
    .concat();
    let wanted = [
        announce(1, LONGEST).as_slice(),
        &body,
        &body,
        &announce(2, 60_000),
        &body,
        &other,
        &last,
        &announce(1, 60_000),
        &body,
    ]
    .concat();
    for (size, room) in [(1 << 20, 1 << 20), (7, 1 << 16), (1 << 16, 9), (1, 1)] {
        let (output, end) = filtered(input.chunks(size), room);
        assert_eq!(end, Ok(()));
        assert!(output == wanted, "in pieces of {size}, room for {room}");
    }
}

#[test]
fn the_end_of_a_frame_that_is_dropped_is_looked_at() {
    let part = vec![b'x'; 200_000];
    let mut dropped = frame(BODY, b"more");
    *dropped.last_mut().unwrap() = 9;
    let head = announce(1, LONGEST + 4);
    let input = [&head[..], &frame(BODY, &part), &dropped].concat();
    assert_eq!(whole(&input).1, Err(Malformed::End(9)));
}

#[test]
fn a_truncated_stream_gives_what_is_complete() {
    let before = frame(BODY, b"{}");
    let input = [&before[..], &frame(HEADER, &all(Some(&table(9)), None))].concat();
    for end in before.len()..input.len() {
        assert_eq!(whole(&input[..end]), (before.clone(), Ok(())), "{end}");
    }
}

#[test]
fn a_huge_table_is_not_collected() {
    let mut guard = Guard::new(LONGEST);
    let size = (FRAME_BYTES as u32).to_be_bytes();
    let start = [&[HEADER, 0, 1], &size[..], &header(1 << 13, &[])].concat();
    let length = (FRAME_BYTES as u32 - 18).to_be_bytes();
    let mut window = [0; 64];
    for piece in [&start[..], &length] {
        guard.filter(piece, &mut window).unwrap();
    }
    let chunk = vec![b'x'; 1 << 16];
    for left in (0..FRAME_BYTES - 18).rev().step_by(chunk.len()) {
        let piece = &chunk[..chunk.len().min(left + 1)];
        let progress = guard.filter(piece, &mut window).unwrap();
        assert_eq!((progress.read, progress.written), (piece.len(), 0));
    }
    let progress = guard.filter(&[FRAME_END], &mut window).unwrap();
    assert_eq!(window[..progress.written], frame(HEADER, &header(0, &[])));
}

const FRAME_BYTES: usize = 100 << 20;

#[test]
fn what_is_malformed_is_refused_after_what_was_before_it() {
    let before = frame(BODY, b"{}");
    let mut wrong_end = frame(HEADER, &all(None, None));
    *wrong_end.last_mut().unwrap() = 0;
    let mut wrong_body = frame(BODY, b"");
    *wrong_body.last_mut().unwrap() = 7;
    let id = header(1 << 7, &[&text(b"id")]);
    let long = [&id[..], b"x"].concat();
    for (input, wanted) in [
        (b"AMQP\0\0\x09\x01".to_vec(), Malformed::Type(b'A')),
        (b"\x04".to_vec(), Malformed::Type(4)),
        (wrong_end, Malformed::End(0)),
        (wrong_body, Malformed::End(7)),
        (frame(HEADER, &[0; 13]), Malformed::Short),
        (frame(HEADER, &id[..id.len() - 1]), Malformed::Short),
        (frame(HEADER, &header(1 << 7, &[])), Malformed::Short),
        (
            frame(HEADER, &header(1 << 13, &[&[0xFF; 4]])),
            Malformed::Short,
        ),
        (frame(HEADER, &long), Malformed::Long),
    ] {
        let (output, end) = whole(&[&before[..], &input].concat());
        assert_eq!(end, Err(wanted));
        assert_eq!(output[..before.len()], before);
    }
}

#[test]
fn there_is_nothing_after_an_error() {
    let (mut guard, mut window) = (Guard::new(LONGEST), [0; 64]);
    guard.filter(b"\0", &mut window).unwrap_err();
    let more = guard.filter(&frame(BODY, b"{}"), &mut window);
    assert_eq!(more, Err(Malformed::Type(0)));
    assert_eq!(guard.filter(b"", &mut window), Err(Malformed::Type(0)));
}

proptest! {
    /// Neither panics nor endless loops, and never more out than in.
    #[test]
    fn random_bytes_do_no_harm(input in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (output, _) = whole(&input);
        prop_assert!(output.len() <= input.len());
    }

    /// The same behind the start of a content header, where random bytes rarely come.
    #[test]
    fn random_properties_do_no_harm(
        flags: u16,
        rest in proptest::collection::vec(any::<u8>(), 0..600),
        size in 1_usize..40,
    ) {
        let input = frame(HEADER, &header(flags, &[&rest]));
        let (output, end) = whole(&input);
        prop_assert!(output.len() <= input.len());
        prop_assert_eq!(filtered(input.chunks(size), 9), (output, end));
    }
}
