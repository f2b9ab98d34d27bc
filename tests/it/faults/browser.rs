//! What breaks in a browser.
