//! A user's own pages: the files of `http.directory`, beside the streams.
//!
//! A request reaches regular files of the folder only. Links inside of it are followed (a ConfigMap consists of them), those
//! that lead out of it are not. Names that begin with a dot do not exist.

use std::io;
use std::path::{Component, Path, PathBuf};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use percent_encoding::percent_decode_str;
use tower_http::services::ServeFile;
use tower_http::services::fs::ServeFileSystemResponseBody;

use super::connection::{AfterResponse, HttpConnection, ResponseMode};
use super::request::HttpRequest;
use super::response;
use crate::host;

/// The file or folder at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file, without links in its path.
    File(PathBuf),
    /// A folder with a page, whose links need a path that ends with a slash.
    Folder,
}

/// Returns the file or folder at the path of a request.
pub(super) async fn find(directory: &Path, path: &str) -> Option<Found> {
    let relative = relative(path)?;
    let is_folder = path.ends_with('/');
    let directory = directory.to_owned();
    let found = host::run_blocking(move || {
        let root = directory.canonicalize().ok()?;
        let inside = |path: PathBuf| {
            let path = path.canonicalize().ok()?;
            path.starts_with(&root).then_some(path)
        };
        let target = inside(root.join(relative))?;
        if target.is_dir() {
            let page = inside(target.join("index.html"))?;
            let page = page.is_file().then_some(page)?;
            return Some(if is_folder {
                Found::File(page)
            } else {
                Found::Folder
            });
        }
        (target.is_file() && !is_folder).then_some(Found::File(target))
    });
    found.await?
}

/// Returns the path below the folder, if it has only usual names.
fn relative(path: &str) -> Option<PathBuf> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let relative = PathBuf::from(path.trim_start_matches('/'));
    let is_usual = |part: Component<'_>| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    let usual = relative.components().all(is_usual) && !path.contains(['\0', '\\']);
    usual.then_some(relative)
}

impl HttpConnection {
    /// Answers with the file or the redirect at the path in the user's folder. Returns `None` if there is neither.
    pub(super) async fn answer_file(
        &mut self,
        request: &HttpRequest,
        path: &str,
        mode: ResponseMode,
    ) -> io::Result<Option<AfterResponse>> {
        let Some(directory) = &self.context.config.http.directory else {
            return Ok(None);
        };
        let after = match find(directory, path).await {
            None => return Ok(None),
            Some(Found::Folder) => {
                // Relative, because a proxy may have removed the beginning of the path.
                let name = path.rsplit('/').next().unwrap_or_default();
                let location = format!("./{name}/");
                let headers = [("Location", location.as_str())];
                self.respond(StatusCode::PERMANENT_REDIRECT, &headers, b"", mode)
                    .await?
            }
            Some(Found::File(file)) => self.send_file(request, &file, mode).await?,
        };
        Ok(Some(after))
    }

    async fn send_file(
        &mut self,
        request: &HttpRequest,
        file: &Path,
        mode: ResponseMode,
    ) -> io::Result<AfterResponse> {
        let response = open(request, file, mode).await?;
        let (status, headers) = (response.status(), response.headers());
        let allow_origin = self.allow_origin.as_deref();
        let header = response::file_header(status, allow_origin, headers, mode.keep_alive);
        self.write(header.as_bytes()).await?;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            // A file that becomes shorter ends the connection, because its length was sent already.
            let data = frame.map_err(io::Error::other)?.into_data();
            self.write(&data.unwrap_or_default()).await?;
        }
        Ok(mode.after())
    }
}

/// Opens a file. The response to conditional requests and to requests for a range is the library's, which does not know `If-Range`.
async fn open(
    request: &HttpRequest,
    file: &Path,
    mode: ResponseMode,
) -> io::Result<Response<ServeFileSystemResponseBody>> {
    let mut headers = request.file_headers.clone();
    let version = headers.remove(header::IF_RANGE);
    if !headers.get(header::RANGE).is_some_and(is_one_range) {
        headers.remove(header::RANGE);
    }
    let mut response = open_if(&headers, file, mode).await?;
    let is_other = |version: &HeaderValue| {
        let validators = [header::ETAG, header::LAST_MODIFIED];
        let mut validators = validators.iter().map(|name| response.headers().get(name));
        validators.all(|it| it != Some(version))
    };
    let is_other_version = version.as_ref().is_some_and(is_other);
    if is_other_version {
        headers.remove(header::RANGE);
        response = open_if(&headers, file, mode).await?;
    }
    if response.status() != StatusCode::NOT_MODIFIED {
        let length = response.headers_mut().entry(header::CONTENT_LENGTH);
        length.or_insert(0.into());
    }
    Ok(response)
}

/// Opens a file under the conditions in these headers.
async fn open_if(
    headers: &HeaderMap,
    file: &Path,
    mode: ResponseMode,
) -> io::Result<Response<ServeFileSystemResponseBody>> {
    let mut wanted = Request::new(Empty::<bytes::Bytes>::new());
    *wanted.headers_mut() = headers.clone();
    if mode.without_body {
        *wanted.method_mut() = Method::HEAD;
    }
    ServeFile::new(file).try_call(wanted).await
}

/// Whether a `Range` is one range of bytes. The library refuses all others, which are to be answered with the whole file (RFC 9110,
/// section 14.2).
fn is_one_range(range: &HeaderValue) -> bool {
    let range = range.to_str().ok().and_then(|it| it.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|it| it.split_once('-')) else {
        return false;
    };
    let is_number = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    is_number(first) && is_number(last) && !(first.is_empty() && last.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn only_regular_files_of_the_folder_are_found() {
        let all = tempfile::tempdir().unwrap();
        let (root, outside) = (all.path().join("pages"), all.path().join("secret.txt"));
        fs::create_dir_all(root.join("..data")).unwrap();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        for file in ["..data/index.html", "sub/index.html", ".hidden", "a b.txt"] {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(&outside, "secret").unwrap();
        symlink("..data/index.html", root.join("index.html")).unwrap();
        symlink(&outside, root.join("out.txt")).unwrap();
        symlink(all.path(), root.join("up")).unwrap();
        let file = |name: &str| Some(Found::File(root.join(name).canonicalize().unwrap()));
        let find = async |path| find(&root, path).await;

        assert_eq!(find("/").await, file("..data/index.html"));
        assert_eq!(find("/index.html").await, file("..data/index.html"));
        assert_eq!(find("/a%20b.txt").await, file("a b.txt"));
        assert_eq!(find("/sub/").await, file("sub/index.html"));
        assert_eq!(find("/sub").await, Some(Found::Folder));
        for absent in [
            "/out.txt",
            "/up/secret.txt",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/sub/..%2f..%2fsecret.txt",
            "/sub/../../secret.txt",
            "/.hidden",
            "/%2ehidden",
            "/..data/index.html",
            "/./index.html/.",
            "/a%00b",
            "/%ff",
            "/a%20b.txt/",
            "/empty/",
            "/sub/none",
        ] {
            assert_eq!(find(absent).await, None, "{absent}");
        }
    }
}
