//! The page: its files, embedded, and the generated ballast that makes it as heavy as the real one.

use std::fmt::Write as _;

use crate::options::PageOptions;

/// How many filler modules one script holds.
pub(crate) const FILLER_BUNDLE: u32 = 1_000;

/// The scripts of the page. `loader.js` knows which of them form the first bundle and which the second.
const SCRIPTS: &[(&str, &str)] = &[
    ("runtime.js", include_str!("../page/runtime.js")),
    ("loader.js", include_str!("../page/loader.js")),
    ("emitter.js", include_str!("../page/emitter.js")),
    ("model.js", include_str!("../page/model.js")),
    ("collection.js", include_str!("../page/collection.js")),
    ("ids.js", include_str!("../page/ids.js")),
    ("enums.js", include_str!("../page/enums.js")),
    ("storage.js", include_str!("../page/storage.js")),
    ("identity.js", include_str!("../page/identity.js")),
    ("socket.js", include_str!("../page/socket.js")),
    ("connection.js", include_str!("../page/connection.js")),
    ("linking.js", include_str!("../page/linking.js")),
    ("contacts.js", include_str!("../page/contacts.js")),
    ("chats.js", include_str!("../page/chats.js")),
    ("messages.js", include_str!("../page/messages.js")),
    ("groups.js", include_str!("../page/groups.js")),
    ("sending.js", include_str!("../page/sending.js")),
    ("receiving.js", include_str!("../page/receiving.js")),
    ("restriction.js", include_str!("../page/restriction.js")),
    ("stubs.js", include_str!("../page/stubs.js")),
    ("boot.js", include_str!("../page/boot.js")),
];

/// The document, with the options the scripts read.
pub(crate) fn index(options: &PageOptions) -> String {
    let options = serde_json::to_string(options).expect("options are plain data").replace('<', "\\u003c");
    include_str!("../page/index.html").replace("__PAGE_OPTIONS__", &options)
}

/// A script by its file name.
pub(crate) fn script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
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
    fn every_script_the_loader_names_is_embedded() {
        let loader = script("loader.js").expect("the loader is embedded");
        let named: Vec<_> = loader.split('\'').filter(|word| word.ends_with(".js")).collect();
        assert!(named.len() > 10, "the loader names its scripts in quotes");
        for name in named {
            assert!(script(name).is_some(), "{name} is not embedded");
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
