//! The proxies towards the venues, with what they are told.

use anyhow::Context as _;
use net::Proxy;
use secrecy::SecretString;
use settings::{Collector, Credentials, VenueMarket};
use std::path::Path;

/// The proxy of the markets that name none of their own.
///
/// # Errors
///
/// If its user and password cannot be read or are none.
pub(crate) fn common(
    settings: &Collector,
    credentials: &Credentials,
) -> anyhow::Result<Option<Proxy>> {
    let Some(url) = &settings.proxy else { return Ok(None) };
    let auth = match &settings.proxy_auth_file {
        Some(path) => Some(read(path)?),
        None => credentials.get("proxy-collector")?,
    };
    Proxy::new(url.url(), auth.as_ref()).map(Some).context("use the proxy of collector.proxy")
}

/// The proxy of a market: its own, or the one that is common to all.
///
/// # Errors
///
/// As [`common`].
pub(crate) fn of(settings: &VenueMarket, common: Option<&Proxy>) -> anyhow::Result<Option<Proxy>> {
    let Some(url) = &settings.proxy else { return Ok(common.cloned()) };
    let auth = settings.proxy_auth_file.as_deref().map(read).transpose()?;
    Proxy::new(url.url(), auth.as_ref()).map(Some).context("use the market's proxy")
}

fn read(path: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the user and password of a proxy in {}", path.display()))?;
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings with a proxy for all and one of OKX's spot market.
    fn settings(common: Option<&str>, own: Option<&str>) -> Collector {
        let proxy = common.map(|url| url.parse().unwrap());
        let mut settings = Collector { proxy, ..Collector::default() };
        settings.venues.okx.spot.proxy = own.map(|url| url.parse().unwrap());
        settings
    }

    fn chosen(settings: &Collector) -> Option<String> {
        let common = common(settings, &Credentials::default()).unwrap();
        let own = of(&settings.venues.okx.spot, common.as_ref()).unwrap();
        own.map(|proxy| proxy.to_string())
    }

    #[test]
    fn a_market_has_its_own_proxy_before_the_common_one_before_none() {
        let (all, one) = ("http://proxy:3128", "socks5://other:1080");
        assert_eq!(chosen(&settings(None, None)), None);
        assert_eq!(chosen(&settings(Some(all), None)).as_deref(), Some(all));
        assert_eq!(chosen(&settings(Some(all), Some(one))).as_deref(), Some(one));
    }

    #[test]
    fn the_file_is_read_before_the_credential_and_what_is_wrong_with_it_is_said() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("marketprism.proxy-collector"), "no colon\n").unwrap();
        let credentials = Credentials::at(directory.path().to_owned());
        let mut settings = settings(Some("http://proxy:3128"), None);
        let error = common(&settings, &credentials).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("collector.proxy") && !text.contains("no colon"), "{text}");
        let file = directory.path().join("auth");
        std::fs::write(&file, "mp:sesame\n").unwrap();
        settings.proxy_auth_file = Some(file);
        assert!(common(&settings, &credentials).unwrap().is_some());
        settings.proxy_auth_file = Some(directory.path().join("missing"));
        let error = common(&settings, &credentials).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
