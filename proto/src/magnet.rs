//! Magnet links (BEP 9). Owns their layout and what has to be escaped in them; refuses to read them: nothing here
//! downloads.

use crate::{id::InfoHash, query::percent_encode};

/// The magnet link of a torrent: what it is called, `len` bytes long, and the announce URL of its tracker.
///
/// The hash stands first and in hexadecimal, which every client takes; the name may be any bytes.
#[must_use]
pub fn magnet_link(info_hash: InfoHash, display_name: &[u8], tracker: &str, len: u64) -> String {
    let (name, tracker) = (escape(display_name), escape(tracker.as_bytes()));
    format!("magnet:?xt=urn:btih:{info_hash}&dn={name}&xl={len}&tr={tracker}")
}

/// As in a query's value. RFC 3986 lets `/` stand there, but many forms that links are pasted into don't.
fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::pairs;

    #[test]
    fn names_hash_name_length_and_tracker() {
        let link = magnet_link(InfoHash::new([0xab; 20]), b"a b.iso", "http://10.0.0.1:6969/announce", 7);
        assert_eq!(
            link,
            "magnet:?xt=urn:btih:abababababababababababababababababababab&dn=a%20b.iso&xl=7\
             &tr=http%3A%2F%2F10.0.0.1%3A6969%2Fannounce"
        );
    }

    #[test]
    fn keeps_every_byte_of_a_name() {
        let name: Vec<u8> = (0..=255).collect();
        let link = magnet_link(InfoHash::new([1; 20]), &name, "http://[::1]/announce/a&b?c=d#e", 0);
        assert!(link.is_ascii() && !link.contains([' ', '#', '"', '<', '+']));
        let (_, query) = link.split_once('?').unwrap();
        let pairs: Vec<_> = pairs(query.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(pairs.len(), 4, "{query}");
        assert_eq!(pairs[1], (b"dn"[..].into(), name.into()));
        assert_eq!(pairs[3], (b"tr"[..].into(), b"http://[::1]/announce/a&b?c=d#e"[..].into()));
    }
}
