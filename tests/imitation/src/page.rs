//! The page: its files, embedded, and the generated ballast that makes it as heavy as the real one.

use std::fmt::Write as _;

use crate::options::PageOptions;

/// How many filler modules one script holds.
pub(crate) const FILLER_BUNDLE: u32 = 1_000;

/// The first module bundle: what the others are built on.
const FOUNDATIONS: &[&str] = &[
    include_str!("../page/emitter.js"),
    include_str!("../page/model.js"),
    include_str!("../page/collection.js"),
    include_str!("../page/ids.js"),
    include_str!("../page/enums.js"),
];

/// The second module bundle: the page itself.
const APPLICATION: &[&str] = &[
    include_str!("../page/storage.js"),
    include_str!("../page/identity.js"),
    include_str!("../page/socket.js"),
    include_str!("../page/stream.js"),
    include_str!("../page/connection.js"),
    include_str!("../page/linking.js"),
    include_str!("../page/passkey.js"),
    include_str!("../page/contacts.js"),
    include_str!("../page/chats.js"),
    include_str!("../page/messages.js"),
    include_str!("../page/stories.js"),
    include_str!("../page/groups.js"),
    include_str!("../page/administration.js"),
    include_str!("../page/labels.js"),
    include_str!("../page/media.js"),
    include_str!("../page/sending.js"),
    include_str!("../page/receiving.js"),
    include_str!("../page/actions.js"),
    include_str!("../page/restriction.js"),
    include_str!("../page/stubs.js"),
    include_str!("../page/boot.js"),
];

/// The document, with the options the scripts read.
pub(crate) fn index(options: &PageOptions) -> String {
    let options = serde_json::to_string(options).expect("options are plain data").replace('<', "\\u003c");
    include_str!("../page/index.html").replace("__PAGE_OPTIONS__", &options)
}

/// A script by its name.
pub(crate) fn script(name: &str) -> Option<String> {
    match name {
        "runtime.js" => Some(include_str!("../page/runtime.js").to_owned()),
        "loader.js" => Some(include_str!("../page/loader.js").to_owned()),
        "foundations.js" => Some(FOUNDATIONS.concat()),
        "application.js" => Some(APPLICATION.concat()),
        _ => None,
    }
}

/// A script that registers `count` modules from number `first` on.
///
/// The real page registers about 12,000 modules in some 10 MB of script, and wa-js executes nearly all of them while it
/// searches. Each filler is about 800 bytes and, executed, builds a table and a few closures, so that registering,
/// parsing and executing 12,000 of them costs what it costs there.
pub(crate) fn filler(first: u32, count: u32) -> String {
    let mut script = String::with_capacity(count as usize * 900);
    for number in first..first.saturating_add(count) {
        let id = format!("WAWebFiller{number:05}");
        let _ = write!(
            script,
            "__d('{id}',[],function(global,require,importDefault,importNamespace,requireLazy,module,exports){{\
             'use strict';var table={{}};"
        );
        for row in 0..8 {
            let _ = write!(script, "table['{id}Row{row}']={{key:{},label:'{id} label {row}'}};", number ^ row);
        }
        let _ = writeln!(
            script,
            "function lookup(key){{for(var row in table)if(table[row].key===key)return table[row];return null}}\
             function describe(key){{var row=lookup(key);return row?row.label:'{id} has no '+key}}\
             exports.lookup{number}=lookup;exports.describe{number}=describe;exports.table{number}=table;}});"
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_that_is_asked_for_exists() {
        let document = index(&PageOptions::default()) + &script("loader.js").expect("the loader exists");
        let named: Vec<_> = document.split(['\'', '"']).filter_map(|word| word.strip_prefix("/page/")).collect();
        assert_eq!(named, ["runtime.js", "loader.js", "foundations.js", "application.js"]);
        for name in named {
            assert!(script(name).is_some(), "{name} does not exist");
        }
    }

    #[test]
    fn each_page_file_is_in_exactly_one_bundle() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page")).expect("the page has files");
        let bundles = [script("foundations.js"), script("application.js"), script("runtime.js"), script("loader.js")];
        let bundles = bundles.map(|bundle| bundle.expect("the bundle exists"));
        for file in files {
            let path = file.expect("the directory can be read").path();
            if path.extension().is_some_and(|extension| extension == "js") {
                let text = std::fs::read_to_string(&path).expect("the file can be read");
                let count = bundles.iter().filter(|bundle| bundle.contains(&text)).count();
                assert_eq!(count, 1, "{}", path.display());
            }
        }
    }

    #[test]
    fn options_cannot_end_the_script_element_they_are_in() {
        let options = PageOptions { version: "</script><script>".to_owned(), ..PageOptions::default() };
        assert!(!index(&options).contains("</script><script>"));
    }

    #[test]
    fn a_filler_bundle_registers_as_many_modules_as_asked() {
        let script = filler(5, 3);
        assert_eq!(script.matches("__d('WAWebFiller").count(), 3);
        assert!(script.contains("'WAWebFiller00005'") && script.contains("'WAWebFiller00007'"));
        assert!((500..1_400).contains(&(script.len() / 3)), "{} bytes each", script.len() / 3);
    }
}
