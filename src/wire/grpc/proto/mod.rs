//! The messages of `proto/`, and the descriptors that reflection serves. All of it but this file is made by
//! `tests/proto.rs`.

#![allow(missing_docs)]

#[rustfmt::skip]
pub mod health;
#[rustfmt::skip]
pub(super) mod index;
#[rustfmt::skip]
pub mod plasma;
#[rustfmt::skip]
pub mod publish;
#[rustfmt::skip]
pub mod reflection;

/// A file of `proto/`.
pub(crate) struct File {
    pub name: &'static str,
    /// Its descriptor: `len` bytes at `at` of [`DESCRIPTORS`].
    pub at: usize,
    pub len: usize,
    /// The files it imports.
    pub needs: &'static [&'static str],
    pub services: &'static [&'static str],
    /// Full names of all that it declares, but for fields.
    pub symbols: &'static [&'static str],
}

/// A `google.protobuf.FileDescriptorSet` of all files.
pub(super) static DESCRIPTORS: &[u8] = include_bytes!("../../../../proto/descriptors.bin");
