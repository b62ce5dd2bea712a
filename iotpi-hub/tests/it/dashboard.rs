//! The dashboard, as far as the hub has a part in it. Whether it is built in depends on `make ui`.

use http::Method;

use crate::api::Api;

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
async fn a_page_of_the_app_is_the_app_and_a_missing_file_is_missing() {
    let api = Api::start().await;

    let page = api.open(Method::GET, "/modules/led").header("accept", "text/html,*/*").send().await;
    let root = api.open(Method::GET, "/").header("accept", "text/html").send().await;
    let file = api.open(Method::GET, "/_app/immutable/gone.js").header("accept", "text/html").problem().await;
    let image = api.open(Method::GET, "/gone.png").header("accept", "image/*").problem().await;

    // The same page, but for the way from there to the hub's root.
    let from_root = String::from_utf8_lossy(&page.body).replace("\"../", "\"./");
    assert_eq!((page.status, from_root), (200, String::from_utf8_lossy(&root.body).into_owned()));
    assert_eq!((file.0, image.0), (404, 404));
    api.stop().await;
}
