//! How the hub serves the dashboard. It is embedded only after `make ui`.

use std::io::Read as _;

use http::Method;

use crate::support::api::Api;

#[tokio::test]
async fn the_root_is_a_page_that_only_runs_the_hubs_own_scripts() {
    let api = Api::start().await;

    let answer = api.open(Method::GET, "/").header("accept", "text/html").send().await;

    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/html"));
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src") && !policy.contains("script-src 'unsafe-inline'"), "{policy}");
    api.stop().await;
}

#[tokio::test]
async fn a_page_of_the_app_is_the_app_and_a_missing_file_is_not_found() {
    let api = Api::start().await;

    let page = api.open(Method::GET, "/modules/led").header("accept", "text/html,*/*").send().await;
    let root = api.open(Method::GET, "/").header("accept", "text/html").send().await;
    let file = api.open(Method::GET, "/_app/immutable/gone.js").header("accept", "text/html").problem().await;
    let image = api.open(Method::GET, "/gone.png").header("accept", "image/*").problem().await;

    // The same page except for the reference to the root of the hub.
    let from_root = String::from_utf8_lossy(&page.body).replace("\"../", "\"./");
    assert_eq!((page.status, from_root), (200, String::from_utf8_lossy(&root.body).into_owned()));
    assert_eq!((file.0, image.0), (404, 404));
    api.stop().await;
}

/// The path of a script of the dashboard that is large enough to be compressed.
async fn a_script(api: &Api) -> String {
    let page = api.open(Method::GET, "/").header("accept", "text/html").send().await;
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    let from =
        html.find("_app/immutable/entry/app.").expect("the dashboard is not built in: run `make ui` first");
    let until = html[from..].find(".js").unwrap() + 3;
    format!("/{}", &html[from..from + until])
}

#[tokio::test]
async fn a_file_has_the_coding_the_browser_prefers_and_its_own_entity_tag() {
    let api = Api::start().await;
    let path = a_script(&api).await;
    let plain = api.open(Method::GET, &path).send().await;
    assert_eq!((plain.status, plain.header("vary")), (200, "accept-encoding"));
    assert!(plain.headers.get("content-encoding").is_none());

    let mut tags = vec![plain.header("etag").to_owned()];
    for (accept, coding) in
        [("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0.2, gzip;q=0.9", "gzip")]
    {
        let packed = api.open(Method::GET, &path).header("accept-encoding", accept).send().await;

        assert_eq!((packed.status, packed.header("content-encoding")), (200, coding), "{accept}");
        assert_eq!(packed.header("vary"), "accept-encoding");
        assert_eq!(packed.header("content-type"), plain.header("content-type"));
        assert_eq!(packed.header("cache-control"), "public, max-age=31536000, immutable");
        assert!(packed.body.len() < plain.body.len(), "{accept}");
        tags.push(packed.header("etag").to_owned());
    }
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2] && tags[2] == tags[3], "{tags:?}");

    for accept in ["identity", "br;q=0, gzip;q=0", "identity, gzip;q=0.5", "zstd"] {
        let asked = api.open(Method::GET, &path).header("accept-encoding", accept).send().await;

        assert!(asked.headers.get("content-encoding").is_none(), "{accept}");
        assert_eq!(asked.body, plain.body, "{accept}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_gzip_file_decompresses_to_the_plain_one() {
    let api = Api::start().await;
    let path = a_script(&api).await;
    let plain = api.open(Method::GET, &path).send().await;

    let packed = api.open(Method::GET, &path).header("accept-encoding", "gzip").send().await;

    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    api.stop().await;
}

#[tokio::test]
async fn a_file_the_browser_has_in_that_coding_is_not_sent_again() {
    let api = Api::start().await;
    let path = a_script(&api).await;
    let get = |accept: &str| api.open(Method::GET, &path).header("accept-encoding", accept);
    let packed = get("br").send().await;
    assert_eq!(packed.header("content-encoding"), "br");
    let tag = packed.header("etag").to_owned();

    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = get("br").header("if-none-match", &known).send().await;

        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
        assert_eq!((again.header("etag"), again.header("vary")), (tag.as_str(), "accept-encoding"));
        assert!(again.headers.get("content-encoding").is_none());
    }
    let other = get("gzip").header("if-none-match", &tag).send().await;
    assert_eq!((other.status, other.header("content-encoding")), (200, "gzip"));
    api.stop().await;
}

#[tokio::test]
async fn a_head_request_gets_the_headers_of_the_get() {
    let api = Api::start().await;
    let path = a_script(&api).await;
    let get = api.open(Method::GET, &path).header("accept-encoding", "br").send().await;

    let head = api.open(Method::HEAD, &path).header("accept-encoding", "br").send().await;

    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    for name in ["etag", "vary", "content-type", "content-encoding", "cache-control"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    api.stop().await;
}

#[tokio::test]
async fn compressed_files_have_no_path_of_their_own() {
    let api = Api::start().await;
    let path = a_script(&api).await;

    for suffix in [".br", ".gz"] {
        let (status, ..) = api.open(Method::GET, &format!("{path}{suffix}")).problem().await;

        assert_eq!(status, 404, "{suffix}");
    }
    api.stop().await;
}
