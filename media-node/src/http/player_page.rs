//! The player page, embedded in the binary. It loads nothing from another host.

/// Media type and content of a file.
type File = (&'static str, &'static [u8]);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Returns the page's file at this path.
pub(super) fn file(path: &str) -> Option<File> {
    let file: File = match path {
        "/" => (
            "text/html; charset=utf-8",
            include_bytes!("../../player/index.html"),
        ),
        "/player/player.css" => (
            "text/css; charset=utf-8",
            include_bytes!("../../player/player.css"),
        ),
        "/player/player.js" => (JAVASCRIPT, include_bytes!("../../player/player.js")),
        "/player/messages.js" => (JAVASCRIPT, include_bytes!("../../player/messages.js")),
        "/player/icon.svg" => ("image/svg+xml", include_bytes!("../../player/icon.svg")),
        "/player/mpegts.js" => (JAVASCRIPT, include_bytes!("../../player/vendor/mpegts.js")),
        "/player/mpegts.js.LICENSE.txt" => (
            "text/plain; charset=utf-8",
            include_bytes!("../../player/vendor/mpegts.js.LICENSE.txt"),
        ),
        _ => return None,
    };
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(file(path).unwrap().1).unwrap()
    }

    #[test]
    fn every_file_that_the_page_loads_is_embedded() {
        let page = text("/");
        let mut found = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in page.split(attribute).skip(1) {
                let reference = rest.split('"').next().unwrap();
                assert!(file(&format!("/{reference}")).is_some(), "{reference}");
                found += 1;
            }
        }
        assert!(found >= 4, "{found}");
        assert!(text("/player/player.js").contains("from \"./messages.js\""));
    }

    #[test]
    fn page_loads_nothing_from_another_host() {
        for path in [
            "/",
            "/player/player.js",
            "/player/messages.js",
            "/player/player.css",
        ] {
            assert!(
                !text(path).contains("//cdn") && !text(path).contains("https://"),
                "{path}"
            );
        }
        assert!(text("/").contains("default-src 'none'"));
    }

    #[test]
    fn library_is_the_vendored_version() {
        let version = include_str!("../../player/vendor/VERSION");
        let version = version.split_whitespace().nth(1).unwrap();
        let library = text("/player/mpegts.js");
        assert!(library.contains("createPlayer") && library.contains(version));
    }

    #[test]
    fn other_paths_are_no_files() {
        for path in [
            "",
            "/player/",
            "/player/../player.js",
            "/live/livestream.flv",
        ] {
            assert!(file(path).is_none(), "{path}");
        }
    }
}
