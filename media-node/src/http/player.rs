//! The player page, embedded in the binary: nothing of it comes from another host.

/// A file of the page: its content type and its bytes.
type Asset = (&'static str, &'static [u8]);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The file of the page at a path, if there is one.
pub(crate) fn respond(path: &str) -> Option<Asset> {
    let asset: Asset = match path {
        "/" => (
            "text/html; charset=utf-8",
            include_bytes!("../../player/index.html"),
        ),
        "/player/player.css" => (
            "text/css; charset=utf-8",
            include_bytes!("../../player/player.css"),
        ),
        "/player/player.js" => (JAVASCRIPT, include_bytes!("../../player/player.js")),
        "/player/words.js" => (JAVASCRIPT, include_bytes!("../../player/words.js")),
        "/player/icon.svg" => ("image/svg+xml", include_bytes!("../../player/icon.svg")),
        "/player/mpegts.js" => (
            JAVASCRIPT,
            include_bytes!(concat!(env!("OUT_DIR"), "/mpegts.js")),
        ),
        "/player/mpegts.js.LICENSE.txt" => (
            "text/plain; charset=utf-8",
            include_bytes!(concat!(env!("OUT_DIR"), "/mpegts.js.LICENSE.txt")),
        ),
        _ => return None,
    };
    Some(asset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(respond(path).unwrap().1).unwrap()
    }

    #[test]
    fn whatever_the_page_loads_is_embedded() {
        let page = text("/");
        let mut found = 0;
        for attribute in ["src=\"", "href=\""] {
            for rest in page.split(attribute).skip(1) {
                let reference = rest.split('"').next().unwrap();
                assert!(respond(&format!("/{reference}")).is_some(), "{reference}");
                found += 1;
            }
        }
        assert!(found >= 4, "{found}");
        assert!(text("/player/player.js").contains("from \"./words.js\""));
    }

    #[test]
    fn the_page_names_no_other_host() {
        for path in [
            "/",
            "/player/player.js",
            "/player/words.js",
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
    fn the_library_is_there_or_says_why_not() {
        let library = text("/player/mpegts.js");
        assert!(library.contains("playerMissing") || library.contains("createPlayer"));
    }

    #[test]
    fn other_paths_are_not_the_page() {
        for path in [
            "",
            "/player/",
            "/player/../player.js",
            "/live/livestream.flv",
        ] {
            assert!(respond(path).is_none(), "{path}");
        }
    }
}
