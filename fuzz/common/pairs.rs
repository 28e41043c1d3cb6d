//! `application/x-www-form-urlencoded` as a plain reading of the URL standard has it (section 5.1).

use serde_json::{Map, Value};

pub fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
    })
}

fn decode(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, ..) => bytes.push(byte),
        }
        at += 1;
    }
    bytes
}

pub fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(&decode(text)).into_owned()
}

/// Keys in the order of their first appearance, the values of a repeated one in a list.
pub fn object(pairs: impl Iterator<Item = (String, String)>) -> Value {
    let mut values: Vec<(String, Vec<Value>)> = Vec::new();
    for (key, value) in pairs {
        match values.iter_mut().find(|(known, _)| *known == key) {
            Some((_, list)) => list.push(Value::from(value)),
            None => values.push((key, vec![Value::from(value)])),
        }
    }
    let member = |(key, mut list): (String, Vec<Value>)| match list.len() {
        1 => (key, list.remove(0)),
        _ => (key, Value::from(list)),
    };
    Value::Object(values.into_iter().map(member).collect::<Map<_, _>>())
}
