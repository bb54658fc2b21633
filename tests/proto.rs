//! What is made from `proto/` is checked in, and this keeps it true: the messages as Rust, their descriptors as bytes,
//! and an index of those. `PLASMA_WRITE_PROTO=1 cargo test --test proto` writes it all anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use prost::Message as _;
use prost_build::Module;
use protox::prost_reflect::{DescriptorPool, prost_types::FileDescriptorSet};

/// Every file of `proto/`, and whether Rust is made of it. The draft of reflection has the messages of its successor.
const FILES: [(&str, bool); 5] =
    [("health", true), ("plasma", true), ("publish", true), ("reflection", true), ("reflection_v1alpha", false)];

#[test]
fn messages_in_rust_are_what_the_proto_files_say() {
    for (name, _) in FILES.into_iter().filter(|(_, has_rust)| *has_rust) {
        let set = compile();
        let file = set.file.into_iter().find(|file| file.name() == format!("{name}.proto")).expect("it was compiled");
        let module = Module::from_protobuf_package_name(file.package());
        // A map without an order would be encoded differently each time.
        let made = prost_build::Config::new().btree_map(["."]).generate(vec![(module.clone(), file)]);
        let code = made.expect("Rust can be made of it").remove(&module).expect("it has messages");
        let head = format!("//! The messages of `proto/{name}.proto`. Made by `tests/proto.rs`; not to be edited.\n\n");
        check(&format!("src/wire/grpc/proto/{name}.rs"), (head + &code).as_bytes());
    }
}

#[test]
fn descriptors_and_their_index_are_what_the_proto_files_say() {
    let mut set = compile();
    // Comments are for whoever reads the files.
    set.file.iter_mut().for_each(|file| file.source_code_info = None);
    let bytes = set.encode_to_vec();
    check("proto/descriptors.bin", &bytes);
    let pool = DescriptorPool::decode(&*bytes).expect("the descriptors are valid");
    let mut index = String::from(
        "//! What lies where in `proto/descriptors.bin`. Made by `tests/proto.rs`; not to be edited.\n\n\
         use super::File;\n\npub(crate) static FILES: &[File] = &[\n",
    );
    let mut end = 0;
    for descriptor in &set.file {
        let len = descriptor.encoded_len();
        // In the set, each file follows its field's key and length.
        let at = end + 1 + prost::length_delimiter_len(len);
        end = at + len;
        let file = pool.get_file_by_name(descriptor.name()).expect("it is in the pool");
        let _ =
            write!(index, "    File {{\n        name: {:?},\n        at: {at},\n        len: {len},\n", file.name());
        list("needs", file.dependencies().map(|file| file.name().to_owned()), &mut index);
        list("services", file.services().map(|service| service.full_name().to_owned()), &mut index);
        list("symbols", symbols(&pool, file.name()), &mut index);
        index.push_str("    },\n");
    }
    index.push_str("];\n");
    assert_eq!(end, bytes.len());
    check("src/wire/grpc/proto/index.rs", index.as_bytes());
}

#[test]
fn every_proto_file_is_listed() {
    let entries = fs::read_dir(root().join("proto")).expect("proto/ can be listed");
    let names = entries.map(|entry| entry.expect("an entry of proto/").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".proto")?.to_owned())).collect();
    names.sort();
    assert_eq!(names, FILES.map(|(name, _)| name));
}

/// The full names of everything that a file declares, but for fields.
fn symbols(pool: &DescriptorPool, file: &str) -> impl Iterator<Item = String> {
    let services = pool.services().filter(move |service| service.parent_file().name() == file);
    let services = services.flat_map(|service| {
        let methods: Vec<String> = service.methods().map(|method| method.full_name().to_owned()).collect();
        std::iter::once(service.full_name().to_owned()).chain(methods)
    });
    let messages = pool.all_messages().filter(move |message| message.parent_file().name() == file);
    let enums = pool.all_enums().filter(move |of| of.parent_file().name() == file);
    let enums = enums.flat_map(|of| {
        let values: Vec<String> = of.values().map(|value| value.full_name().to_owned()).collect();
        std::iter::once(of.full_name().to_owned()).chain(values)
    });
    services.chain(messages.map(|message| message.full_name().to_owned())).chain(enums)
}

/// Appends a list of strings, one to a line.
fn list(name: &str, items: impl Iterator<Item = String>, out: &mut String) {
    let mut items: Vec<String> = items.map(|item| format!("            {item:?},\n")).collect();
    items.sort();
    let _ = match &*items {
        [] => writeln!(out, "        {name}: &[],"),
        items => writeln!(out, "        {name}: &[\n{}        ],", items.concat()),
    };
}

/// Whether the file is what it should be; made so when it is to be written.
fn check(path: &str, want: &[u8]) {
    let file = root().join(path);
    if std::env::var_os("PLASMA_WRITE_PROTO").is_some() {
        fs::write(&file, want).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let is_so = fs::read(&file).is_ok_and(|found| found == want);
    assert!(is_so, "{path} is not what proto/ says: run `PLASMA_WRITE_PROTO=1 cargo test --test proto`");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compile() -> FileDescriptorSet {
    let files = FILES.map(|(name, _)| format!("{name}.proto"));
    protox::compile(files, [root().join("proto")]).expect("proto/ is valid")
}
