//! The archive's Parquet files over HTTP, for programs that read such files where they lie.

use super::state::List;
use super::{Access, params};
use crate::condition::date;
use archive::ArchivedFile;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{Stream, try_unfold};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::{Kind, Market, Venue};
use part::Part;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use telemetry::Chain;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem};

mod part;

/// Bytes read at a time, and held in memory while a client takes them.
const PIECE_BYTES: u64 = 256 << 10;
/// Source: <https://www.iana.org/assignments/media-types/application/vnd.apache.parquet>.
const PARQUET: &str = "application/vnd.apache.parquet";

/// The parameters of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    kind: Option<String>,
    venue: Option<String>,
    market: Option<String>,
    date: Option<String>,
}

/// How they are described.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read as text, to name every mistake")]
struct Asked {
    kind: openapi::Kind,
    venue: Option<openapi::Venue>,
    market: Option<openapi::Market>,
    /// The day of the rows, `YYYY-MM-DD`, UTC.
    #[param(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    date: Option<String>,
}

/// A file's path, folder by folder.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes the parts of a path that is looked up as a whole")]
struct Place {
    /// `kind=` and the kind.
    kind: String,
    /// `venue=` and the venue.
    venue: String,
    /// `market=` and the market.
    market: String,
    /// `date=` and the day, UTC.
    date: String,
    /// The file's own name.
    name: String,
}

/// A Parquet file of the archive.
#[derive(Serialize, ToSchema)]
pub(crate) struct FileAnswer {
    /// Below the address of the list.
    path: String,
    #[schema(value_type = openapi::Venue)]
    venue: &'static str,
    #[schema(value_type = openapi::Market)]
    market: &'static str,
    /// The day of its rows, `YYYY-MM-DD`, UTC.
    date: String,
    rows: u64,
    bytes: u64,
    /// Of the whole file, as `sha256sum` writes it; absent for files of older versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

impl From<ArchivedFile> for FileAnswer {
    fn from(file: ArchivedFile) -> Self {
        let ArchivedFile { path, venue, market, day, rows, bytes, sha256 } = file;
        let (path, date) = (path.display().to_string(), date(day));
        Self { path, venue: venue.as_str(), market: market.as_str(), date, rows, bytes, sha256 }
    }
}

/// The Parquet files of a kind. What is still in segments, or in ClickHouse, is in none of them.
#[utoipa::path(
    get,
    path = "/api/v1/storage/files",
    operation_id = "storage_files",
    params(Asked),
    responses(
        (status = 200, description = "One entry for each file.", body = List<FileAnswer>),
        (status = 400),
        (status = 500),
    ),
)]
pub(crate) async fn list(
    State(access): State<Access>,
    web::Query(asked): web::Query<Params>,
) -> web::Result<Json<List<FileAnswer>>> {
    let files = listed(&access, &asked).await?;
    Ok(Json(List { data: files.into_iter().map(FileAnswer::from).collect() }))
}

/// The sums of the same files, for `sha256sum --check` in the folder that they were copied into.
///
/// A file of an older version, which has none, is a comment.
#[utoipa::path(
    get,
    path = "/api/v1/storage/files/SHA256SUMS",
    operation_id = "storage_sums",
    params(Asked),
    responses(
        (status = 200, description = "A line for each file.", body = String,
         content_type = "text/plain; charset=utf-8"),
        (status = 400),
        (status = 500),
    ),
)]
pub(crate) async fn sums(
    State(access): State<Access>,
    web::Query(asked): web::Query<Params>,
) -> web::Result<Response> {
    let content = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((content, lines(&listed(&access, &asked).await?)).into_response())
}

fn lines(files: &[ArchivedFile]) -> String {
    let line = |file: &ArchivedFile| {
        let path = file.path.display();
        match &file.sha256 {
            Some(sum) => format!("{sum}  {path}\n"),
            None => format!("# {path}: written by a version that took no sum\n"),
        }
    };
    files.iter().map(line).collect::<Vec<_>>().concat()
}

/// The files that are asked for. There may be many: they are gone through on a blocking thread.
async fn listed(access: &Access, asked: &Params) -> web::Result<Vec<ArchivedFile>> {
    let kind = params::named::<Kind>("kind", asked.kind.as_deref())?
        .ok_or_else(|| Problem::bad_request("`kind` is required"))?;
    let venue = params::named::<Venue>("venue", asked.venue.as_deref())?;
    let market = params::named::<Market>("market", asked.market.as_deref())?;
    let day = asked.date.as_deref().map(|date| params::day("date", date)).transpose()?;
    let archive = access.handle(kind).reader.archive().clone();
    super::blocking(move || {
        let mut files = archive.files();
        files.retain(|file| {
            venue.is_none_or(|venue| venue == file.venue)
                && market.is_none_or(|market| market == file.market)
                && day.is_none_or(|day| day == file.day)
        });
        Ok(files)
    })
    .await
}

/// One Parquet file, or a part of it (`Range`).
///
/// What a path stands for does not change, and the entity tag is its SHA-256. A file that was
/// merged with others since it was listed is gone: list again.
#[utoipa::path(
    get,
    path = "/api/v1/storage/files/{kind}/{venue}/{market}/{date}/{name}",
    operation_id = "storage_file",
    params(Place),
    responses(
        (status = 200, description = "The file."),
        (status = 206, description = "The part that was asked for."),
        (status = 304, description = "It is what `If-None-Match` says."),
        (status = 400),
        (status = 404),
        (status = 416, description = "The file is shorter; `Content-Range` says how long it is."),
        (status = 500),
    ),
)]
pub(crate) async fn file(
    State(access): State<Access>,
    web::Path(folders): web::Path<(String, String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> web::Result<Response> {
    let (kind, venue, market, date, name) = folders;
    let path = format!("{kind}/{venue}/{market}/{date}/{name}");
    let missing = Problem::not_found(format!("there is no file {path}"));
    let kind = kind.strip_prefix("kind=").and_then(|kind| kind.parse::<Kind>().ok());
    let Some(kind) = kind else { return Err(missing) };
    let archive = access.handle(kind).reader.archive().clone();
    let found = super::blocking(move || Ok(archive.open(Path::new(&path))?)).await?;
    let (listed, file) = found.ok_or(missing)?;
    // Digits, unless somebody wrote something else into the manifest; without a tag it is sent anew.
    let tag = listed.sha256.as_ref();
    let tag = tag.and_then(|sum| HeaderValue::try_from(format!("\"{sum}\"")).ok());
    let part = Part::of(&method, &headers, tag.as_ref(), listed.bytes);
    Ok(respond(part, tag, listed.bytes, file))
}

fn respond(part: Part, tag: Option<HeaderValue>, len: u64, file: File) -> Response {
    let (status, range) = match part {
        Part::Known => (StatusCode::NOT_MODIFIED, 0..0),
        Part::Whole => (StatusCode::OK, 0..len),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        Part::Beyond => {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the file has {len} bytes"),
            );
            return ([(CONTENT_RANGE, format!("bytes */{len}"))], problem).into_response();
        }
    };
    let (first, bytes) = (range.start, range.end - range.start);
    let mut response = Response::new(Body::from_stream(pieces(file, range)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
    if status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::empty();
        return response;
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PARQUET));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {first}-{}/{len}", first + bytes - 1);
        let range = HeaderValue::try_from(range).expect("digits fit a header");
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

/// The bytes of a file from one place to another, one piece at a time.
fn pieces(file: File, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold((Arc::new(file), range), |(file, left)| async move {
        if left.is_empty() {
            return Ok(None);
        }
        let piece = left.start..left.end.min(left.start + PIECE_BYTES);
        let rest = piece.end..left.end;
        let source = Arc::clone(&file);
        let bytes = spawn_blocking(move || read(&source, piece)).await;
        let bytes = bytes.map_err(io::Error::from).flatten();
        // The answer has begun: all that is left is to break off.
        let bytes = bytes.inspect_err(|error| {
            tracing::warn!(error = %Chain(error), "a file of the archive cannot be read on");
        })?;
        Ok::<_, io::Error>(Some((bytes, (file, rest))))
    })
}

fn read(file: &File, piece: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(piece.end - piece.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, piece.start)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
