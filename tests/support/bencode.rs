//! A strict reader of bencode (BEP 3), written against the specification alone: whatever it doesn't take, some client
//! won't take either. Dictionaries must be sorted, integers canonical, and nothing may follow the value.

use std::ops::Range;

/// A value, and for dictionaries where each of their values lies in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dictionary(Vec<(Vec<u8>, Self, Range<usize>)>),
}

impl Value {
    /// Reads the whole input; panics and shows it where it isn't bencode.
    pub(crate) fn read(input: &[u8]) -> Self {
        let mut at = 0;
        let value = read_value(input, &mut at);
        assert_eq!(at, input.len(), "something follows the value: {}", String::from_utf8_lossy(input));
        value
    }

    fn entries(&self) -> &[(Vec<u8>, Self, Range<usize>)] {
        let Self::Dictionary(entries) = self else { panic!("{self:?} is no dictionary") };
        entries
    }

    /// The value of a key, if it is there.
    pub(crate) fn find(&self, key: impl AsRef<[u8]>) -> Option<&Self> {
        self.entries().iter().find(|(found, ..)| found == key.as_ref()).map(|(_, value, _)| value)
    }

    /// The value of a key that must be there.
    pub(crate) fn get(&self, key: impl AsRef<[u8]>) -> &Self {
        let key = key.as_ref();
        self.find(key).unwrap_or_else(|| panic!("no {} in {self:?}", String::from_utf8_lossy(key)))
    }

    /// Where the value of a key lies in the input.
    pub(crate) fn range(&self, key: &str) -> Range<usize> {
        let entry = self.entries().iter().find(|(found, ..)| found == key.as_bytes());
        entry.map(|(_, _, range)| range.clone()).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.entries().iter().map(|(key, ..)| String::from_utf8_lossy(key).into_owned()).collect()
    }

    pub(crate) fn integer(&self) -> i64 {
        let Self::Integer(integer) = self else { panic!("{self:?} is no integer") };
        *integer
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let Self::Bytes(bytes) = self else { panic!("{self:?} is no string") };
        bytes
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("it is text")
    }

    pub(crate) fn list(&self) -> &[Self] {
        let Self::List(list) = self else { panic!("{self:?} is no list") };
        list
    }
}

fn read_value(input: &[u8], at: &mut usize) -> Value {
    match peek(input, *at) {
        b'i' => {
            *at += 1;
            Value::Integer(read_integer(input, at, b'e'))
        }
        b'l' => {
            *at += 1;
            let mut list = Vec::new();
            while peek(input, *at) != b'e' {
                list.push(read_value(input, at));
            }
            *at += 1;
            Value::List(list)
        }
        b'd' => {
            *at += 1;
            let mut entries: Vec<(Vec<u8>, Value, Range<usize>)> = Vec::new();
            while peek(input, *at) != b'e' {
                let key = read_bytes(input, at);
                let before = entries.last().map(|(key, ..)| key);
                assert!(before < Some(&key), "keys aren't sorted: {}", String::from_utf8_lossy(input));
                let start = *at;
                let value = read_value(input, at);
                entries.push((key, value, start..*at));
            }
            *at += 1;
            Value::Dictionary(entries)
        }
        _ => Value::Bytes(read_bytes(input, at)),
    }
}

fn read_bytes(input: &[u8], at: &mut usize) -> Vec<u8> {
    let len = usize::try_from(read_integer(input, at, b':')).expect("a length isn't negative");
    let bytes = input.get(*at..*at + len).expect("a string lies within the input").to_vec();
    *at += len;
    bytes
}

fn read_integer(input: &[u8], at: &mut usize, end: u8) -> i64 {
    let rest = &input[*at..];
    let len = rest.iter().position(|byte| *byte == end).expect("an integer ends");
    let text = str::from_utf8(&rest[..len]).expect("an integer is text");
    let integer: i64 = text.parse().unwrap_or_else(|_| panic!("{text:?} is no integer"));
    assert_eq!(integer.to_string(), text, "an integer isn't canonical");
    *at += len + 1;
    integer
}

fn peek(input: &[u8], at: usize) -> u8 {
    *input.get(at).unwrap_or_else(|| panic!("it ends too early: {}", String::from_utf8_lossy(input)))
}
