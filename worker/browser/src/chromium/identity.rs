//! What the browser says it is: its real version on its real platform, without `Headless`.
//!
//! A headless Chromium names itself `HeadlessChrome` in the user agent. `--user-agent` changes that
//! everywhere, service workers included, but it also empties the detailed client hints
//! (`navigator.userAgentData`), so these are given back to the page one by one.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::emulation::{
    SetUserAgentOverrideParams, UserAgentBrandVersion, UserAgentMetadata,
};

use super::Flavor;

/// Printing its version takes Chromium 50 ms, and the first start after boot a second.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// A version of Chromium, as `156.0.8078.79`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    full: String,
    major: u32,
}

impl Version {
    /// Finds the version in what `--version` prints.
    fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.split('.').map(str::parse::<u32>);
            let major = parts.next()?.ok()?;
            let rest = parts.collect::<Result<Vec<_>, _>>().ok()?;
            (rest.len() == 3).then(|| Version { full: word.to_owned(), major })
        })
    }

    /// Asks the executable. `None` when it does not say; the browser then goes by its own name.
    pub(super) async fn of(executable: &Path) -> Option<Self> {
        let output = tokio::process::Command::new(executable)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(VERSION_TIMEOUT, output).await.ok()?.ok()?;
        Self::find(&String::from_utf8_lossy(&output.stdout))
    }

    /// The user agent of a Chromium of this version with a window: since Chrome 110 it carries
    /// only the major version.
    pub(crate) fn user_agent(&self) -> String {
        format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
            self.major
        )
    }

    /// The made-up brand that Chromium puts beside its own, and whether it stands first.
    ///
    /// The rule is Chromium's, from the major version: two of eleven separators, one of three versions.
    fn made_up_brand(&self) -> (UserAgentBrandVersion, bool) {
        const SEPARATORS: [char; 11] = [' ', '(', ':', '-', '.', '/', ')', ';', '=', '?', '_'];
        const VERSIONS: [&str; 3] = ["8", "99", "24"];
        let seed = self.major as usize;
        let brand = UserAgentBrandVersion {
            brand: format!("Not{}A{}Brand", SEPARATORS[seed % 11], SEPARATORS[(seed + 1) % 11]),
            version: format!("{}.0.0.0", VERSIONS[seed % 3]),
        };
        (brand, seed.is_multiple_of(2))
    }

    /// The override that gives a page its full client hints back.
    pub(crate) fn page_override(&self, flavor: Flavor) -> SetUserAgentOverrideParams {
        let own = UserAgentBrandVersion { brand: "Chromium".into(), version: self.full.clone() };
        let (made_up, first) = self.made_up_brand();
        let full = if first { vec![made_up, own] } else { vec![own, made_up] };
        let short = |brand: &UserAgentBrandVersion| UserAgentBrandVersion {
            brand: brand.brand.clone(),
            version: brand.version.split('.').next().unwrap_or_default().to_owned(),
        };
        let brands = match flavor {
            // Left out, Chromium's own list stays.
            Flavor::Chromium => None,
            // Its own list says `HeadlessChrome`.
            Flavor::HeadlessShell => Some(full.iter().map(short).collect()),
        };
        SetUserAgentOverrideParams {
            user_agent: self.user_agent(),
            accept_language: None,
            platform: None,
            user_agent_metadata: Some(UserAgentMetadata {
                brands,
                full_version_list: Some(full),
                platform: "Linux".into(),
                platform_version: String::new(),
                architecture: "x86".into(),
                model: String::new(),
                mobile: false,
                bitness: Some("64".into()),
                wow64: Some(false),
                form_factors: Some(vec!["Desktop".into()]),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_the_builds_print() {
        for (printed, version) in [
            ("Chromium 156.0.8078.79 \n", Some("156.0.8078.79")),
            ("Chromium 156.0.8078.79 built on Debian", Some("156.0.8078.79")),
            ("Google Chrome for Testing 9.8.7.6", Some("9.8.7.6")),
            ("", None),
            ("Chromium", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.x.4", None),
        ] {
            let found = Version::find(printed).map(|v| v.full);
            assert_eq!(found.as_deref(), version, "{printed}");
        }
    }

    #[test]
    fn the_user_agent_has_the_major_version_and_is_not_headless() {
        let version = Version::find("156.0.8078.79").expect("a version");
        assert!(version.user_agent().contains(" Chrome/156.0.0.0 "));
        assert!(!version.user_agent().contains("Headless"));
    }

    #[test]
    fn the_made_up_brand_follows_the_major_version() {
        // 156 as its `navigator.userAgentData.brands` shows it; the next by the same rule.
        for (version, brand, first) in [("156.0.0.0", "Not:A-Brand", true), ("157.0.0.0", "Not-A.Brand", false)] {
            let (made_up, is_first) = Version::find(version).expect("a version").made_up_brand();
            assert_eq!((made_up.brand.as_str(), is_first), (brand, first));
        }
    }
}
