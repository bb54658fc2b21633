//! What the README says of the settings is what the program says.

use plasma::server::config::reference_markdown;

#[test]
fn the_readme_lists_every_setting_as_the_program_does() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- settings -->\n").expect("the section begins");
    let (section, _) = rest.split_once("<!-- /settings -->").expect("the section ends");
    assert!(section == reference_markdown(), "put the output of `plasma --print-reference` there");
}
