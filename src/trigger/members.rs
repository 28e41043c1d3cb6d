//! The members of an object that is made of pairs: keys in the order of their first appearance, the values of a
//! repeated key in an array.
//!
//! Repetitions among more than a few pairs are found by sorting, so that no choice of keys makes it slow.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::base::json;

/// Pairs that stay out of the heap: more than most queries have.
const INLINE: usize = 8;

struct MemberPair<'a, V> {
    key: Cow<'a, str>,
    value: V,
    /// The next pair of the same key.
    next: Option<u32>,
    is_first: bool,
}

/// Pairs on their way into an object.
pub(super) struct JsonMembers<'a, V> {
    list: SmallVec<[MemberPair<'a, V>; INLINE]>,
}

impl<'a, V> JsonMembers<'a, V> {
    pub(super) fn new() -> JsonMembers<'a, V> {
        JsonMembers { list: SmallVec::new() }
    }

    pub(super) fn push(&mut self, key: Cow<'a, str>, value: V) {
        self.list.push(MemberPair { key, value, next: None, is_first: true });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The value of the first pair of a key.
    pub(super) fn first(&self, key: &str) -> Option<&V> {
        self.list.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    /// Links the pairs of each key.
    fn link(&mut self) {
        if self.list.len() <= INLINE {
            self.link_few();
        } else {
            self.link_many();
        }
    }

    /// By comparing each with those before it.
    fn link_few(&mut self) {
        for later in 1..self.list.len() {
            let (before, rest) = self.list.split_at_mut(later);
            if let Some(earlier) = before.iter_mut().rev().find(|member| member.key == rest[0].key) {
                earlier.next = u32::try_from(later).ok();
                rest[0].is_first = false;
            }
        }
    }

    /// By sorting.
    fn link_many(&mut self) {
        let count = u32::try_from(self.list.len()).expect("a body has fewer than 2^32 pairs");
        let mut order: Vec<u32> = (0..count).collect();
        let key = |place: u32| &self.list[place as usize].key;
        order.sort_unstable_by(|&a, &b| key(a).cmp(key(b)).then(a.cmp(&b)));
        for pair in order.windows(2) {
            let (earlier, later) = (pair[0] as usize, pair[1] as usize);
            if self.list[earlier].key == self.list[later].key {
                self.list[earlier].next = Some(pair[1]);
                self.list[later].is_first = false;
            }
        }
    }

    /// Writes the object.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, mut write_value: impl FnMut(&mut Vec<u8>, &V)) {
        self.link();
        out.push(b'{');
        let mut comma = false;
        for first in self.list.iter().filter(|member| member.is_first) {
            if comma {
                out.push(b',');
            }
            comma = true;
            json::escape_into(out, &first.key);
            out.push(b':');
            if first.next.is_none() {
                write_value(out, &first.value);
                continue;
            }
            out.push(b'[');
            write_value(out, &first.value);
            let mut next = first.next;
            while let Some(place) = next {
                let member = &self.list[place as usize];
                out.push(b',');
                write_value(out, &member.value);
                next = member.next;
            }
            out.push(b']');
        }
        out.push(b'}');
    }
}
