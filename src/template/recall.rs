//! Remembers what steps of paths led to, so that a template that takes the same step in every turn of a loop searches
//! a large container once.

use super::value::{PathSegment, Value};

/// Containers of fewer bytes are searched about as fast as remembered.
const CONTAINER_BYTES_MIN: usize = 1024;
/// Steps that are remembered, each in the one place that it may take.
const PLACES: usize = 64;

/// A step: from which container, by which segment, to what.
#[derive(Clone, Copy)]
struct RecalledStep<'a> {
    container: *const u8,
    segment: *const PathSegment,
    found: Value<'a>,
}

/// The steps, allocated with the first one.
#[derive(Default)]
pub(super) struct Recall<'a>(Vec<Option<RecalledStep<'a>>>);

impl<'a> Recall<'a> {
    /// Where a container is, if a step from it by this name is worth remembering.
    #[inline]
    pub(super) fn container(value: &Value<'a>, segment: &PathSegment) -> Option<*const u8> {
        match value {
            Value::Raw(raw) if raw.bytes().len() >= CONTAINER_BYTES_MIN => Some(raw.bytes().as_ptr()),
            Value::Root(root) if root.get_cost(segment.name()) >= CONTAINER_BYTES_MIN => {
                Some(std::ptr::from_ref(*root).cast())
            }
            _ => None,
        }
    }

    pub(super) fn find(&self, container: *const u8, segment: &'a PathSegment) -> Option<Value<'a>> {
        let step = self.0.get(place(container, segment))?.as_ref()?;
        let is_same = std::ptr::eq(step.container, container) && std::ptr::eq(step.segment, segment);
        is_same.then_some(step.found)
    }

    pub(super) fn keep(&mut self, container: *const u8, segment: &'a PathSegment, found: Value<'a>) {
        if self.0.is_empty() {
            self.0.resize(PLACES, None);
        }
        self.0[place(container, segment)] = Some(RecalledStep { container, segment, found });
    }
}

fn place(container: *const u8, segment: &PathSegment) -> usize {
    let container = container as usize;
    let segment = std::ptr::from_ref(segment) as usize / size_of::<PathSegment>();
    (container ^ container >> 6 ^ segment) % PLACES
}
