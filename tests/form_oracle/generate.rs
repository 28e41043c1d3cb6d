//! Forms and queries as senders write them, and stranger ones, from a seed.

#[path = "../common/seed.rs"]
mod seed;

pub use seed::Seed;

/// Pieces of urlencoded text. A key that names a charset is not among them: `URLSearchParams` knows none.
const PIECES: [&str; 44] = [
    "a",
    "b",
    "key",
    "=",
    "=",
    "=",
    "&",
    "&",
    "&",
    "+",
    "%20",
    "%2B",
    "%26",
    "%3D",
    "%",
    "%%",
    "%4",
    "%zz",
    "%C3%A9",
    "%e9",
    "%E2%82",
    "%F0%9F%98%80",
    "%00",
    "%EF%BB%BF",
    "%ed%a0%80",
    "é",
    "😀",
    "\u{feff}",
    " ",
    "\t",
    "\r\n",
    ";",
    "?",
    "#",
    "[0]",
    "[]",
    ".",
    "__proto__",
    "constructor",
    "\"",
    "\\",
    "<",
    "'",
    "\u{0}",
];

/// Text between `&` and `=`, with no rule kept.
pub fn pairs(seed: &mut Seed) -> String {
    (0..1 + seed.below(24)).map(|_| seed.one_of(&PIECES)).collect()
}

/// What a form is compared with. Forms of which it makes something else than the standards, or than we decided where they
/// leave it open, are not made for it: the guide's page `conformance` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// It drops a part behind a boundary with white space, takes a file with an empty name for a field, and gives a file
    /// without a type another one.
    Busboy,
    /// It prefers `filename` to `filename*`, and takes an empty `filename*` for none.
    Python,
}

/// A body of `multipart/form-data`, with its content type.
#[derive(Clone, Debug)]
pub struct Multipart {
    pub content_type: String,
    pub body: Vec<u8>,
}

const BOUNDARIES: [&str; 7] = [
    "b",
    "----WebKitFormBoundary7MA4YWxkTrZu0gW",
    "------------------------d74496d66958873e",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "a'()+_,-./:=?z",
    "--",
    "X-Y",
];
const NAMES: [&str; 12] =
    ["a", "b", "file", "a b", "é", "日本", "x[y]", "a=b", "a;b", "", "__proto__", "a,b"];
const FILENAMES: [&str; 12] = [
    "x.txt",
    "a b.png",
    "é.jpg",
    "日本.pdf",
    "",
    "..",
    "a;b.txt",
    "a=b",
    "C:\\temp\\x.txt",
    "a/b.txt",
    "a'b",
    "a%22b",
];
const TYPES: [&str; 6] = [
    "text/plain",
    "image/png",
    "application/octet-stream",
    "application/json",
    "text/plain; charset=utf-8",
    "application/x-www-form-urlencoded",
];
const CONTENTS: [&[u8]; 18] = [
    b"",
    b"v",
    b"\r\n",
    b"\n",
    b"\r",
    b"--",
    b"-",
    b"text",
    b"\r\n--",
    b"\r\n\r\n",
    b"\0",
    "é".as_bytes(),
    b"a=b&c",
    b"{\"a\":1}",
    b" ",
    b"\t",
    b"\r\n-",
    b"\r\r\n",
];
/// Bytes that are not UTF-8: for files alone.
const BYTES: [&[u8]; 3] = [b"\xff\xfe", b"\x80", b"\xe2\x82"];

/// A form in which every part can be read, written in the ways that the standards leave open.
pub fn multipart(seed: &mut Seed, reader: Reader) -> Multipart {
    let boundary = seed.one_of(&BOUNDARIES);
    let quoted = boundary.bytes().any(|byte| b"()<>@,;:\\\"/[]?=' ".contains(&byte)) || seed.below(3) == 0;
    let media_type = seed.one_of(&["multipart/form-data", "Multipart/Form-Data"]);
    let charset = seed.one_of(&["", "", "; charset=utf-8"]);
    let value = if quoted { format!("\"{boundary}\"") } else { boundary.to_owned() };
    let parameter = seed.one_of(&["boundary", "Boundary"]);
    let content_type = if seed.below(2) == 0 {
        format!("{media_type}{charset}; {parameter}={value}")
    } else {
        format!("{media_type};{parameter}={value}{charset}")
    };
    let mut body = seed.one_of(&["", "", "", "\r\n", "preamble\r\n"]).as_bytes().to_vec();
    for _ in 0..1 + seed.below(5) {
        body.extend_from_slice(format!("--{boundary}{}\r\n", padding(seed, reader)).as_bytes());
        part(seed, reader, boundary, &mut body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--{}", padding(seed, reader)).as_bytes());
    body.extend_from_slice(seed.one_of(&["", "\r\n", "\r\n", "\r\nepilogue"]).as_bytes());
    Multipart { content_type, body }
}

/// White space behind a boundary, which RFC 2046 lets be.
fn padding(seed: &mut Seed, reader: Reader) -> &'static str {
    if seed.below(12) == 0 && reader != Reader::Busboy { " \t" } else { "" }
}

fn part(seed: &mut Seed, reader: Reader, boundary: &str, body: &mut Vec<u8>) {
    let mut disposition = seed.one_of(&["form-data", "form-data", "Form-Data"]).to_owned();
    let separator = seed.one_of(&["; ", "; ", ";", " ; "]);
    let name = format!("{separator}name=\"{}\"", seed.one_of(&NAMES));
    let is_file = seed.below(2) == 0;
    let file = if is_file {
        let is_busboy = reader == Reader::Busboy;
        let filename = loop {
            let filename = seed.one_of(&FILENAMES);
            if !(filename.is_empty() && is_busboy) {
                break filename;
            }
        };
        match seed.below(4) {
            // RFC 8187, which senders write against RFC 7578.
            0 if !filename.is_empty() => format!("{separator}filename*=UTF-8''{}", percent(filename)),
            1 if is_busboy => {
                let extended = percent(filename);
                format!("{separator}filename=\"plain\"{separator}filename*=utf-8'en'{extended}")
            }
            _ => format!("{separator}filename=\"{}\"", filename.replace('\\', "\\\\")),
        }
    } else {
        String::new()
    };
    disposition += &if seed.below(5) == 0 { file.clone() + &name } else { name + &file };
    let mut lines =
        vec![format!("{}: {disposition}", seed.one_of(&["Content-Disposition", "content-disposition"]))];
    if seed.below(2) == 0 || is_file && reader == Reader::Busboy {
        lines.push(format!("Content-Type: {}", seed.one_of(&TYPES)));
    }
    if seed.below(4) == 0 {
        lines.push(format!("Content-Transfer-Encoding: {}", seed.one_of(&["7bit", "8bit", "binary"])));
    }
    if seed.below(6) == 0 {
        lines.push("X-More: of it".to_owned());
    }
    let turn = seed.below(lines.len());
    lines.rotate_left(turn);
    body.extend_from_slice(lines.join("\r\n").as_bytes());
    body.extend_from_slice(b"\r\n\r\n");
    let mut content = Vec::new();
    for _ in 0..seed.below(7) {
        let of: &[&[u8]] = if is_file && seed.below(4) == 0 { &BYTES } else { &CONTENTS };
        content.extend_from_slice(seed.one_of(of));
        if seed.below(8) == 0 {
            // The beginning of a delimiter, which is content.
            content.extend_from_slice(format!("\r\n--{}", &boundary[..boundary.len() - 1]).as_bytes());
            content.extend_from_slice(b"!");
        }
    }
    // What the pieces made by chance would end the part.
    if memchr::memmem::find(&content, format!("--{boundary}").as_bytes()).is_none() {
        body.extend_from_slice(&content);
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}
