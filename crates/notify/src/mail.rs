//! Mail over SMTP.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls, TlsParameters, TlsParametersBuilder,
};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{SendError, SetupError};
use crate::message::Message;

/// A mail of a storm is still one that is read.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Ports by which the two ways are known.
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;

/// Sends mails through one server.
#[derive(Debug)]
pub(crate) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// Prepares the way: TLS from the start for `smtps`, else STARTTLS, without which nothing is
    /// sent; only on loopback mail goes in the clear.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub(crate) fn new(
        configured: &settings::Channel,
        password: Option<SecretString>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let url = configured.url.as_ref().ok_or(SetupError::Url)?.url();
        let host = url.host_str().ok_or(SetupError::Url)?.to_owned();
        let is_wrapped = url.scheme() == "smtps";
        let tls = if is_wrapped {
            Tls::Wrapper(parameters(configured, &host)?)
        } else if is_loopback(&host) {
            Tls::None
        } else {
            Tls::Required(parameters(configured, &host)?)
        };
        let port = url.port().unwrap_or(if is_wrapped { SUBMISSIONS } else { SUBMISSION });
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(timeout));
        if let Some(user) = &configured.user {
            let password = password
                .ok_or_else(|| SetupError::NoSecret { channel: configured.name.clone() })?;
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let to: Result<Vec<Mailbox>, SetupError> =
            configured.to.iter().map(|text| mailbox(text)).collect();
        Ok(Self {
            transport: builder.build(),
            timeout,
            from: mailbox(configured.from.as_deref().unwrap_or_default())?,
            to: to?,
        })
    }

    /// Sends a mail and returns what the server said.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub(crate) async fn send(&self, message: &Message) -> Result<String, SendError> {
        let mail = self.compose(message)?;
        // The transport's own limit is for each command.
        let answer = tokio::time::timeout(self.timeout, self.transport.send(mail))
            .await
            .map_err(|_| SendError::Timeout(self.timeout))?
            .map_err(SendError::Mail)?;
        let said: Vec<&str> = answer.message().collect();
        Ok(format!("answered {}: {}", answer.code(), said.join(" ")))
    }

    fn compose(&self, message: &Message) -> Result<lettre::Message, SendError> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(format!("[MarketPrism] {}", message.title()))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(message.text(TEXT_BYTES_MAX)).map_err(SendError::Compose)
    }
}

fn parameters(configured: &settings::Channel, host: &str) -> Result<TlsParameters, SetupError> {
    let mut builder = TlsParametersBuilder::new(host.to_owned());
    if let Some(path) = &configured.ca_file {
        let text = std::fs::read(path)
            .map_err(|source| SetupError::Secret { path: path.clone(), source })?;
        let authority = Certificate::from_pem(&text).map_err(SetupError::MailTls)?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    builder.build_rustls().map_err(SetupError::MailTls)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn mailbox(text: &str) -> Result<Mailbox, SetupError> {
    text.parse().map_err(|source| SetupError::Address { text: text.to_owned(), source })
}
