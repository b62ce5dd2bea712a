//! A place in a JSON document, formatted as a pointer (RFC 6901) only when needed.

use std::fmt;

/// A place, as a step from its parent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pointer<'a> {
    /// The pointer to the root of the document.
    Root(&'a str),
    Field(&'a Pointer<'a>, &'a str),
    Item(&'a Pointer<'a>, usize),
}

impl<'a> Pointer<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    pub(super) fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }

    pub(super) fn is_root(&self) -> bool {
        matches!(self, Self::Root(_))
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(pointer) => f.write_str(pointer),
            Self::Field(parent, name) => write!(f, "{parent}/{}", name.replace('~', "~0").replace('/', "~1")),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}
