//! The root that a template or path is rendered over: a JSON object, in one piece or not.

use std::borrow::Cow;

use crate::base::json::{Kind, Raw, escape_into};

/// A JSON object by its members, so that a payload need not be in one piece to be looked into.
pub trait Root {
    /// The value of a key; of a repeated key the last one.
    fn get(&self, key: &str) -> Option<Raw<'_>>;

    /// Bytes that [`Root::get`] searches for a key.
    fn get_cost(&self, key: &str) -> usize;

    /// The value of `member` in the object that `key` leads to, for a root that knows without a search where some of
    /// them are.
    fn get_member(&self, _key: &str, _member: &str) -> Option<Raw<'_>> {
        None
    }

    /// Whether [`Root::get_member`] finds all that the object behind `key` has: what it does not find is not there.
    fn knows_members(&self, _key: &str) -> bool {
        false
    }

    /// The text behind three steps, for a root that has it as it is and not as JSON: the same text as that of the
    /// string that the steps lead to.
    fn text(&self, _steps: [&str; 3]) -> Option<&str> {
        None
    }

    /// The whole document as JSON, for what wants all of it (`{{jsonEncode this}}`, `{{#each this}}`).
    fn whole(&self) -> Cow<'_, [u8]>;

    /// Bytes that [`Root::whole`] copies or may have to.
    fn whole_len(&self) -> usize;
}

impl Root for Raw<'_> {
    fn get(&self, key: &str) -> Option<Raw<'_>> {
        Raw::get(self, key)
    }

    fn get_cost(&self, _key: &str) -> usize {
        self.bytes().len()
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes())
    }

    fn whole_len(&self) -> usize {
        self.bytes().len()
    }
}

/// The root of templates in credentials ([verification](crate::guide::verification#verification)): `{"globals": {…}}`,
/// and the globals by their bare keys too.
///
/// A global that is itself called `globals` is only reached as `globals.globals`.
#[derive(Clone, Copy, Debug)]
pub struct GlobalsRoot<'a> {
    globals: Raw<'a>,
}

impl<'a> GlobalsRoot<'a> {
    /// Over the object `{"<key>": <value>, …}` of an application's globals.
    #[must_use]
    pub fn new(globals: Raw<'a>) -> GlobalsRoot<'a> {
        GlobalsRoot { globals }
    }
}

impl Root for GlobalsRoot<'_> {
    fn get(&self, key: &str) -> Option<Raw<'_>> {
        if key == "globals" { Some(self.globals) } else { self.globals.get(key) }
    }

    fn get_cost(&self, key: &str) -> usize {
        if key == "globals" { 0 } else { self.globals.bytes().len() }
    }

    fn whole(&self) -> Cow<'_, [u8]> {
        let mut out = b"{\"globals\":".to_vec();
        out.extend_from_slice(self.globals.bytes());
        if self.globals.kind() == Kind::Object {
            for (key, value) in self.globals.entries().filter(|(key, _)| key != "globals") {
                out.push(b',');
                escape_into(&mut out, &key);
                out.push(b':');
                out.extend_from_slice(value.bytes());
            }
        }
        out.push(b'}');
        Cow::Owned(out)
    }

    fn whole_len(&self) -> usize {
        // Its members are searched, and copied twice.
        8 * self.globals.bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globals_are_found_under_their_name_and_bare() {
        let text = br#"{"key":"x","globals":1}"#;
        let root = GlobalsRoot::new(Raw::trusted(text));
        assert_eq!(Root::get(&root, "key").unwrap().bytes(), b"\"x\"");
        assert_eq!(Root::get(&root, "globals").unwrap().bytes(), text);
        assert_eq!(root.whole().as_ref(), br#"{"globals":{"key":"x","globals":1},"key":"x"}"#);
    }
}
