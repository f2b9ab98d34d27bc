//! One tab: made, prepared before anything is loaded into it, navigated, closed.

use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::emulation::SetUserAgentOverrideParams;
use chromiumoxide_cdp::cdp::browser_protocol::page::{EnableParams as PageEnable, NavigateParams};
use chromiumoxide_cdp::cdp::browser_protocol::target::{
    AttachToTargetParams, CloseTargetParams, CreateTargetParams, GetTargetsParams,
};
use chromiumoxide_cdp::cdp::js_protocol::runtime::{AddBindingParams, EnableParams as RuntimeEnable};
use url::Url;

use super::PageError;
use crate::{Cdp, CdpError, CdpEvents};

/// Setting up a tab is a handful of calls that the browser answers at once.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Until the site's first answer, on a slow line.
const NAVIGATION_TIMEOUT: Duration = Duration::from_secs(60);

/// What the driver listens to.
const EVENTS: &[&str] = &[
    "Page.javascriptDialogOpening",
    "Runtime.bindingCalled",
    "Runtime.executionContextCreated",
    "Runtime.executionContextsCleared",
];

/// How a tab presents itself and speaks to us.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    /// The function by which the adapter sends its events.
    pub(super) binding: String,
    pub(super) identity: Option<SetUserAgentOverrideParams>,
}

#[derive(Debug)]
pub(super) struct Tab {
    cdp: Cdp,
    pub(super) target: String,
    /// The debugging session of this tab on the one connection.
    pub(super) session: String,
    pub(super) events: CdpEvents,
}

impl Tab {
    /// The empty tab that the browser has from its start, or a new one when that is in use.
    pub(super) async fn first(cdp: &Cdp, setup: &Setup) -> Result<Self, CdpError> {
        let targets = cdp.call(None, GetTargetsParams::default(), SETUP_TIMEOUT).await?.target_infos;
        let unused = targets.into_iter().find(|t| t.r#type == "page" && t.url == "about:blank" && !t.attached);
        match unused {
            Some(target) => Self::attach(cdp, target.target_id.into(), setup).await,
            None => Self::another(cdp, setup).await,
        }
    }

    /// A new, empty tab.
    pub(super) async fn another(cdp: &Cdp, setup: &Setup) -> Result<Self, CdpError> {
        let created = cdp.call(None, CreateTargetParams::new("about:blank"), SETUP_TIMEOUT).await?;
        Self::attach(cdp, created.target_id.into(), setup).await
    }

    async fn attach(cdp: &Cdp, target: String, setup: &Setup) -> Result<Self, CdpError> {
        let attach = AttachToTargetParams { target_id: target.clone().into(), flatten: Some(true) };
        let session: String = cdp.call(None, attach, SETUP_TIMEOUT).await?.session_id.into();
        let tab = Tab { events: cdp.subscribe(Some(&session), EVENTS), cdp: cdp.clone(), target, session };
        let on = Some(tab.session.as_str());
        cdp.call(on, PageEnable::default(), SETUP_TIMEOUT).await?;
        // A binding reports its calls only where the domain is enabled. Targets are not attached to
        // automatically: a service worker that is attached to and let go never starts.
        cdp.call(on, RuntimeEnable::default(), SETUP_TIMEOUT).await?;
        cdp.call(on, AddBindingParams::new(setup.binding.clone()), SETUP_TIMEOUT).await?;
        if let Some(identity) = &setup.identity {
            cdp.call(on, identity.clone(), SETUP_TIMEOUT).await?;
        }
        Ok(tab)
    }

    /// Loads the address; returns when the site has answered, before the page is complete.
    pub(super) async fn navigate(&self, url: &Url) -> Result<(), PageError> {
        let answer = self.cdp.call(Some(&self.session), NavigateParams::new(url.as_str()), NAVIGATION_TIMEOUT).await?;
        match answer.error_text {
            Some(error) => Err(PageError::Navigation(error)),
            None => Ok(()),
        }
    }

    /// Begins to listen anew, for after the tab was abandoned or its queue ran over.
    pub(super) fn listen_again(&mut self) {
        self.events = self.cdp.subscribe(Some(&self.session), EVENTS);
    }

    /// Closes the tab and waits until it is gone.
    pub(super) async fn close(mut self) -> Result<(), CdpError> {
        self.cdp.call(None, CloseTargetParams::new(self.target), SETUP_TIMEOUT).await?;
        let gone = async { while self.events.next().await.is_ok() {} };
        tokio::time::timeout(SETUP_TIMEOUT, gone)
            .await
            .map_err(|_| CdpError::Timeout { method: "Target.closeTarget".into(), after: SETUP_TIMEOUT })
    }
}
