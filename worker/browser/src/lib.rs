//! One Chromium per session over the debugging pipe, and the typed driver of the page in it.
