//! The pages that the binary carries: path to content type, entity tag, policy and bytes.
//!
//! Reads no file and writes no header: the files are embedded when the program is built, and whoever answers the
//! request makes headers of what [`find`] gives.

/// The content security policy of every page: nothing from elsewhere, nothing inline, no frames around it, no plug-ins.
/// `ws:` and `wss:` are named because not every browser takes `'self'` to cover them.
pub const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                       img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The path of the chat page.
pub const CHAT_PATH: &str = "/";

/// One embedded file, ready to be answered. Pages change only with the program, so `Cache-Control: no-cache` with
/// the tag costs a browser one conditional request.
#[derive(Debug)]
pub struct Page {
    /// The path it is served at, without a query.
    pub path: &'static str,
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// For `ETag`, quoted; a strong one: it changes with every byte of the body (RFC 9110 §8.8.3).
    pub etag: &'static str,
    /// For `Content-Security-Policy`.
    pub csp: &'static str,
    /// The content.
    pub body: &'static [u8],
}

/// The page at `path` (as the request has it, without the query), if there is one.
#[must_use]
pub fn find(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Embeds a file of this folder; its tag is computed while compiling.
macro_rules! page {
    ($path:expr, $content_type:expr, $file:literal) => {
        Page {
            path: $path,
            content_type: $content_type,
            etag: {
                const TAG: [u8; TAG_BYTES] = tag(include_bytes!($file));
                match std::str::from_utf8(&TAG) {
                    Ok(text) => text,
                    Err(_) => panic!("hexadecimal digits and quotes are ASCII"),
                }
            },
            csp: CSP,
            body: include_bytes!($file),
        }
    };
}

/// Every page. Few enough that looking through them beats hashing the path.
static PAGES: [Page; 7] = [
    page!(CHAT_PATH, HTML, "chat.html"),
    page!("/chat.css", CSS, "chat.css"),
    page!("/chat.js", JS, "chat.js"),
    page!("/chat-link.js", JS, "chat-link.js"),
    page!("/chat-log.js", JS, "chat-log.js"),
    page!("/chat-room.js", JS, "chat-room.js"),
    page!("/favicon.svg", SVG, "favicon.svg"),
];

/// Length of a tag: 64 bits in hexadecimal, and two quotes.
const TAG_BYTES: usize = 18;

/// The quoted tag of `body`.
const fn tag(body: &[u8]) -> [u8; TAG_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = fnv1a(body);
    let mut tag = [b'"'; TAG_BYTES];
    let mut at = 0;
    while at < 16 {
        tag[at + 1] = DIGITS[((hash >> (60 - 4 * at)) & 15) as usize];
        at += 1;
    }
    tag
}

/// FNV-1a, 64 bits: the same for the same bytes in every build, and simple enough for a `const fn`. Not keyed: nobody
/// chooses these bytes but us.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &Page) -> &'static str {
        std::str::from_utf8(page.body).expect("pages are UTF-8")
    }

    fn pages_of(content_type: &'static str) -> impl Iterator<Item = &'static Page> {
        PAGES.iter().filter(move |page| page.content_type == content_type)
    }

    /// What stands between `before` and the next quote, each time it occurs.
    fn quoted_after(text: &'static str, before: &'static str) -> impl Iterator<Item = &'static str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
    }

    #[test]
    fn finds_pages_by_their_exact_path() {
        assert_eq!(find("/").map(|page| page.content_type), Some(HTML));
        for page in &PAGES {
            assert!(std::ptr::eq(find(page.path).expect("listed"), page), "{} is listed twice", page.path);
            assert!(!page.body.is_empty() && page.csp == CSP);
        }
        for path in ["", "/chat", "/CHAT.JS", "/../chat.js", "/chat.js/", "//", "/chat.js?x"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn hashes_as_published() {
        // Test vectors of the FNV authors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(&tag(b"foobar"), b"\"85944171f73967e8\"");
    }

    #[test]
    fn tags_are_quoted_and_differ() {
        for (at, page) in PAGES.iter().enumerate() {
            assert!(page.etag.len() == TAG_BYTES && page.etag.starts_with('"') && page.etag.ends_with('"'));
            assert!(PAGES[..at].iter().all(|other| other.etag != page.etag));
        }
    }

    #[test]
    fn links_lead_to_pages() {
        for page in pages_of(HTML) {
            let links = quoted_after(text(page), "src=\"").chain(quoted_after(text(page), "href=\""));
            let mut count = 0;
            for link in links {
                assert!(find(link).is_some(), "{} links to {link}", page.path);
                count += 1;
            }
            assert!(count > 0, "no links seen: the test looks for the wrong words");
        }
        for page in pages_of(JS) {
            for link in quoted_after(text(page), "from \"./") {
                assert!(find(&format!("/{link}")).is_some(), "{} imports {link}", page.path);
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for page in &PAGES {
            // The name space of SVG is an identifier; nobody fetches it.
            let text = text(page).replace("http://www.w3.org/2000/svg", "");
            for scheme in ["http://", "https://", "\"//", "'//", "url(", "@import", "ws://"] {
                assert!(!text.contains(scheme), "{} has {scheme}", page.path);
            }
        }
    }

    #[test]
    fn the_policy_holds_and_nothing_is_inline() {
        assert!(CSP.starts_with("default-src 'none';") && !CSP.contains("unsafe") && !CSP.contains('*'));
        for page in pages_of(HTML) {
            let text = text(page);
            assert!(!text.contains("<style") && !text.contains(" style="), "{} has inline style", page.path);
            for script in text.split("<script").skip(1) {
                let (attributes, rest) = script.split_once('>').expect("the tag ends");
                assert!(
                    attributes.contains(" src=\"") && rest.starts_with("</script>"),
                    "{}: {attributes}",
                    page.path
                );
            }
            let is_handler = |word: &str| word.starts_with("on") && word.contains("=\"");
            assert!(!text.split_whitespace().any(is_handler), "{} has an inline handler", page.path);
        }
    }

    #[test]
    fn scripts_never_make_markup_or_code_from_text() {
        for page in pages_of(JS) {
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
            {
                assert!(!text(page).contains(word), "{} has {word}", page.path);
            }
        }
    }
}
