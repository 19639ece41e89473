//! Whether bytes are a whole answer, and which one. As much is read of it as it takes to know that it is right.

/// What a tracker said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Peers, and so many bytes in all.
    Peers { peers: usize, len: usize },
    /// Why not.
    Refused,
    /// The id under which to announce (BEP 15).
    Connection([u8; 8]),
    /// Something that no client would understand.
    Wrong,
}

/// An answer over HTTP, and how many bytes it took; `None` while it isn't whole.
pub(crate) fn http(bytes: &[u8]) -> Option<(Answer, usize)> {
    let head_len = find(bytes, b"\r\n\r\n")? + 4;
    let (head, body) = bytes.split_at(head_len);
    let Some(body_len) = content_length(head) else { return Some((Answer::Wrong, bytes.len())) };
    let body = body.get(..body_len)?;
    let len = head_len + body_len;
    if !head.starts_with(b"HTTP/1.") || head.get(8..12) != Some(b" 200") {
        return Some((Answer::Wrong, len));
    }
    Some((bencoded(body, len), len))
}

fn bencoded(body: &[u8], len: usize) -> Answer {
    if find(body, b"14:failure reason").is_some() {
        return Answer::Refused;
    }
    let peers = find(body, b"5:peers").and_then(|at| number(&body[at + 7..]));
    peers.map_or(Answer::Wrong, |bytes| Answer::Peers { peers: bytes / 6, len })
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then(|| number(value.trim_ascii_start()))?
    })
}

/// The digits in front.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(&bytes[..digits]).ok()?.parse().ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// An answer over UDP to the question with this transaction id; `None` for an answer to an older one.
pub(crate) fn udp(packet: &[u8], number: u32) -> Option<Answer> {
    let (Some(action), Some(transaction)) = (packet.get(..4), packet.get(4..8)) else {
        return Some(Answer::Wrong);
    };
    if transaction != number.to_be_bytes() {
        return None;
    }
    Some(match action {
        [0, 0, 0, 0] => {
            packet.get(8..16).and_then(|id| id.try_into().ok()).map_or(Answer::Wrong, Answer::Connection)
        }
        [0, 0, 0, 1] if packet.len() >= 20 => {
            Answer::Peers { peers: (packet.len() - 20) / 6, len: packet.len() }
        }
        [0, 0, 0, 3] => Answer::Refused,
        _ => Answer::Wrong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_answers_only() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\nd5:peers6:abcdef6:peers60:eHTTP";
        let len = whole.len() - 4;
        assert_eq!(http(whole), Some((Answer::Peers { peers: 1, len }, len)));
        assert_eq!(http(&whole[..len - 1]), None);
    }

    #[test]
    fn tells_refusals_from_nonsense() {
        let refused = b"HTTP/1.0 200 OK\r\ncontent-length: 24\r\n\r\nd14:failure reason2:noee";
        assert_eq!(http(refused), Some((Answer::Refused, refused.len())));
        for wrong in [&b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(http(wrong), Some((Answer::Wrong, wrong.len())));
        }
    }

    #[test]
    fn takes_no_packet_for_the_answer_to_another() {
        assert_eq!(udp(&[0, 0, 0, 1, 0, 0, 0, 7, 0, 0], 8), None);
        assert_eq!(udp(&[0, 0, 0, 3, 0, 0, 0, 8, b'n', b'o'], 8), Some(Answer::Refused));
        assert_eq!(udp(&[0; 7], 0), Some(Answer::Wrong));
    }
}
