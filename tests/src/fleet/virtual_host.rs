//! A virtual host of its own for one test, and the faults a test can cause in it, through RabbitMQ's management API.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use crate::services::Addresses;

/// A virtual host. Dropping it deletes it, with its queues and connections.
pub struct VirtualHost {
    name: String,
    url: String,
    api: Api,
}

impl VirtualHost {
    /// Creates a virtual host in which the account of the run may do everything.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn create(addresses: &Addresses, name: &str) -> anyhow::Result<Self> {
        let api = Api::new(&addresses.management)?;
        let host = Self { name: name.to_owned(), url: format!("{}/{name}", addresses.amqp), api };
        let permissions = json!({"configure": ".*", "write": ".*", "read": ".*"});
        host.call("PUT", &format!("vhosts/{name}"), Some(json!({}))).await?;
        let path = format!("permissions/{name}/{}", host.api.user);
        host.call("PUT", &path, Some(permissions)).await?;
        Ok(host)
    }

    /// `amqp://…` of this virtual host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything the broker tells of a queue; `None` if there is no such queue. Figures in it are up to a second old.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue(&self, queue: &str) -> anyhow::Result<Option<Value>> {
        let all = self.call("GET", &format!("queues/{}", self.name), None).await?;
        Ok(all.as_array().and_then(|queues| queues.iter().find(|found| found["name"] == queue)).cloned())
    }

    /// The names of all queues.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queues(&self) -> anyhow::Result<Vec<String>> {
        let all = self.call("GET", &format!("queues/{}?columns=name", self.name), None).await?;
        let names = all.as_array().into_iter().flatten();
        Ok(names.filter_map(|queue| queue["name"].as_str().map(str::to_owned)).collect())
    }

    /// Everything the broker tells of every queue. Figures in it are up to a second old.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue_figures(&self) -> anyhow::Result<Vec<Value>> {
        let all = self.call("GET", &format!("queues/{}", self.name), None).await?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }

    /// How many messages each queue holds, ready or unacknowledged. Figures are up to a second old.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn fill(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let all = self.call("GET", &format!("queues/{}?columns=name,messages", self.name), None).await?;
        let queues = all.as_array().into_iter().flatten();
        // A queue that was just declared has no figures yet.
        let fill = |queue: &Value| Some((queue["name"].as_str()?.to_owned(), queue["messages"].as_u64().unwrap_or(0)));
        Ok(queues.filter_map(fill).collect())
    }

    /// Closes every connection to this virtual host, as a restart of the broker would, as soon as the management API
    /// knows of `expected` or more (it learns of them a moment late). Returns how many there were.
    ///
    /// # Errors
    /// When the broker does not answer, or there are not that many connections.
    pub async fn close_connections(&self, expected: usize) -> anyhow::Result<usize> {
        const PATIENCE: Duration = Duration::from_secs(15);
        let started = Instant::now();
        let names = loop {
            let all = self.call("GET", &format!("vhosts/{}/connections", self.name), None).await?;
            let connections = all.as_array().into_iter().flatten();
            let names: Vec<String> = connections.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect();
            if names.len() >= expected {
                break names;
            }
            ensure!(started.elapsed() < PATIENCE, "{expected} connections expected, only {names:?} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(100)).await; // between two questions
        };
        for name in &names {
            let mut path = Url::parse("http://api/connections/")?;
            path.path_segments_mut().ok().context("a path")?.pop_if_empty().push(name);
            self.call("DELETE", path.path().trim_start_matches('/'), None).await?;
        }
        Ok(names.len())
    }

    async fn call(&self, method: &'static str, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        self.api.call(method, path, body.as_ref()).await
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        let (api, path) = (self.api.clone(), format!("vhosts/{}", self.name));
        // Drop cannot wait for a future on the test's own runtime, and its connections belong to that.
        let deleting = std::thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let api = Api { client: client()?, ..api };
            runtime.block_on(api.call("DELETE", &path, None)).map(drop)
        });
        match deleting.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("deleting the virtual host {}: {error:#}", self.name),
            Err(_) => eprintln!("deleting the virtual host {} panicked", self.name),
        }
    }
}

/// The management API of the run's broker.
#[derive(Clone)]
struct Api {
    base: String,
    user: String,
    authorization: String,
    client: reqwest::Client,
}

impl Api {
    fn new(url: &str) -> anyhow::Result<Self> {
        let mut url = Url::parse(url)?;
        let user = url.username().to_owned();
        let password = url.password().unwrap_or_default().to_owned();
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.ok().context("an http URL has a place for a user")?;
        Ok(Self {
            base: format!("{url}api"),
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            user,
            client: client()?,
        })
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let what = || format!("{method} /api/{path}");
        let request = self
            .client
            .request(method.parse()?, format!("{}/{path}", self.base))
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default());
        let response = request.send().await.with_context(what)?.error_for_status().with_context(what)?;
        let text = response.text().await.with_context(what)?;
        if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text).with_context(what) }
    }
}

fn client() -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?)
}
