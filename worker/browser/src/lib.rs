//! One Chromium per session over the debugging pipe, and the typed driver of the page in it.
//!
//! The protocol's types come from the `chromiumoxide` family, its connection does not: that speaks
//! WebSocket only, so Chromium would have to listen on a port, and its event loop was measured to
//! wait for ever when a browser dies in silence and to panic on an event that it does not know.
//!
//! Reading order: [`Chromium`] starts, watches and ends one browser in its own process group;
//! [`Cdp`] is the connection to it, NUL-separated JSON on two pipes, so that nothing ever
//! listens on a socket; [`Page`] drives the one tab and turns what happens in it into
//! [`PageEvent`]s. The half of the page driver that runs inside the tab is TypeScript, in
//! `page/`, and is compiled into this crate as [`built_in_bundle`].

mod cdp;
mod chromium;
mod page;

pub use cdp::{Cdp, CdpError, CdpEvent, CdpEvents, CdpEventsEnd};
pub use chromium::{Chromium, End, Exit, Flavor, LaunchError, LaunchOptions, Sandbox};
pub use page::{
    Ack, CRASH_NOTICED_WITHIN, Call, CallError, Capabilities, Card, DETACHED_NOTICED_WITHIN, Draft, DraftContent,
    GroupChange, GroupDeed, GroupSetting, GroupUpdate, HANG_NOTICED_WITHIN, Location, Me, Media, Message,
    MessageSource, Page, PageError, PageEvent, PageFile, PageOptions, Person, Poll, Presence, Quoted, Reaction, Sent,
    Status, VisitingCard, Vote, built_in_bundle, silence_noticed_within,
};
