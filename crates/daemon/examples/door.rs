//! A service behind a socket, under the name of the gateway.

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use daemon::{Context, Service, Tasks};
use openapi::Document;

struct Door;

impl Service for Door {
    const NAME: &'static str = "gateway";
    const SOCKET_ACTIVATED: bool = true;
    const GUARDED: bool = true;

    async fn build(context: &mut Context) -> anyhow::Result<Self> {
        context.status.set("open");
        Ok(Self)
    }

    fn router(&self) -> Router {
        Router::new().route("/", get(async || "open"))
    }

    fn describe() -> Document {
        Document::default()
    }

    fn start(self, _tasks: &mut Tasks) -> anyhow::Result<()> {
        Ok(())
    }
}

fn main() -> ExitCode {
    daemon::main::<Door>()
}
