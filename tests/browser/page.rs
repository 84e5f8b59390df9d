//! The dashboard in a browser, as a person has it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::browser::Driver;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

/// Longer than anything here takes, shorter than a developer's patience.
const LONG: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How Chromium runs without a screen, without the network, and as root.
const ARGUMENTS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--lang=en-US",
    // With it the browser ends when its driver does, however that ends.
    "--remote-debugging-pipe",
];

/// An open page.
pub(crate) struct Page {
    session: WebDriver,
    // Ends after the session.
    _driver: Driver,
}

impl Page {
    /// Opens the page of a gateway in a browser of its own.
    pub(crate) async fn open(gateway: SocketAddr) -> Page {
        // The client of WebDriver may be built with TLS for others, and then wants to know whose.
        // Somebody else may have said so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let driver = Driver::start().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities
            .set_binary(testkit::browser::find_binary("chromium").unwrap().to_str().unwrap())
            .unwrap();
        for argument in ARGUMENTS {
            capabilities.add_arg(argument).unwrap();
        }
        capabilities.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        let session = WebDriver::new(driver.url(), capabilities).await.unwrap();
        let page = Page { session, _driver: driver };
        page.resize(1440, 900).await;
        page.session.goto(format!("http://{gateway}/")).await.unwrap();
        page.until("the page runs", async || page.is_shown("sign-in").await).await;
        page
    }

    /// Ends the browser.
    pub(crate) async fn close(self) {
        self.session.quit().await.unwrap();
    }

    /// Waits for a condition; if it does not come, shows what the page says.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + LONG;
        while !holds().await {
            if Instant::now() > deadline {
                let text = self.script("return document.body.innerText", json!(null)).await;
                let complaints = self.complaints().await;
                panic!("never: {what}\n{}\n{complaints:#?}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn script(&self, script: &str, argument: Value) -> Value {
        self.session.execute(script, vec![argument]).await.unwrap().json().clone()
    }

    /// Runs a script that says in the end what it found wrong.
    pub(crate) async fn check(&self, script: &str) -> Vec<String> {
        let found = self.session.execute_async(script, Vec::new()).await.unwrap();
        serde_json::from_value(found.json().clone()).unwrap()
    }

    /// What an element says, as a person sees it.
    pub(crate) async fn text(&self, id: &str) -> String {
        let script = "return document.getElementById(arguments[0]).innerText";
        self.script(script, json!(id)).await.as_str().unwrap().trim().to_owned()
    }

    /// The heads of a table's rows.
    pub(crate) async fn heads(&self, id: &str) -> Vec<String> {
        let script = "return [...document.getElementById(arguments[0]).rows]
            .map((row) => row.cells[0].textContent)";
        serde_json::from_value(self.script(script, json!(id)).await).unwrap()
    }

    /// What the row of this head says; nothing if there is none.
    pub(crate) async fn row(&self, rows: &str, head: &str) -> String {
        let script = "const [rows, head] = arguments[0];
            return [...document.getElementById(rows).rows]
                .find((row) => row.cells[0].textContent === head)?.innerText ?? ''";
        self.script(script, json!([rows, head])).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn value(&self, id: &str) -> String {
        let script = "return document.getElementById(arguments[0]).value";
        self.script(script, json!(id)).await.as_str().unwrap().to_owned()
    }

    pub(crate) async fn is_shown(&self, id: &str) -> bool {
        let script = "return document.getElementById(arguments[0]).checkVisibility()";
        self.script(script, json!(id)).await == json!(true)
    }

    /// Whether a panel looks old.
    pub(crate) async fn is_stale(&self, id: &str) -> bool {
        let script = "return document.getElementById(arguments[0]).classList.contains('stale')";
        self.script(script, json!(id)).await == json!(true)
    }

    /// How far the page reaches beyond the window, in pixels.
    pub(crate) async fn overflow(&self) -> i64 {
        let script = "const { scrollWidth, clientWidth } = document.documentElement;
            return scrollWidth - clientWidth";
        self.script(script, json!(null)).await.as_i64().unwrap()
    }

    /// Types something into a field in place of what is there.
    pub(crate) async fn write(&self, id: &str, words: &str) {
        let field = self.session.find(By::Id(id)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(words).await.unwrap();
    }

    pub(crate) async fn press(&self, id: &str) {
        self.session.find(By::Id(id)).await.unwrap().click().await.unwrap();
    }

    /// Presses a button of a table, in the row of this head.
    pub(crate) async fn press_in(&self, rows: &str, head: &str, button: &str) {
        let script = "const [rows, head, button] = arguments[0];
            const row = [...document.getElementById(rows).rows]
                .find((row) => row.cells[0].textContent === head);
            const found = [...(row?.querySelectorAll('button') ?? [])]
                .find((candidate) => candidate.textContent === button);
            found?.click();
            return Boolean(found)";
        let is_there = self.script(script, json!([rows, head, button])).await;
        assert_eq!(is_there, json!(true), "no button {button} at {head}");
    }

    /// Shows the page as on a screen of this size.
    pub(crate) async fn resize(&self, width: u64, height: u64) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        let cdp = self.session.cdp();
        cdp.send_raw("Emulation.setDeviceMetricsOverride", metrics).await.unwrap();
    }

    /// Takes a picture of the whole page at this width, in light and in dark.
    pub(crate) async fn screenshot(&self, programs: &Path, name: &str, width: u64) {
        let folder = programs.parent().unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let script = "return document.documentElement.scrollHeight";
        let height = self.script(script, json!(null)).await.as_u64().unwrap();
        self.resize(width, height).await;
        let cdp = self.session.cdp();
        for scheme in ["light", "dark"] {
            let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
            let media = json!({ "features": [feature] });
            cdp.send_raw("Emulation.setEmulatedMedia", media).await.unwrap();
            let file = folder.join(format!("dashboard-{name}-{scheme}.png"));
            self.session.screenshot(&file).await.unwrap();
        }
    }

    /// What the browser has complained about since it was last asked: errors of scripts, refusals of
    /// the content security policy, files that could not be loaded.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.session.browser_log().await.unwrap();
        let severe = log.into_iter().filter(|entry| matches!(&*entry.level, "SEVERE" | "WARNING"));
        severe.map(|entry| entry.message).collect()
    }
}
