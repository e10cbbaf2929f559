//! The document that describes every call, as it is kept in registry-spec/.

use axum::http::{HeaderName, header};

const DOCUMENT: &str = include_str!("../../../registry-spec/openapi.json");

/// Answers with the document.
pub(super) async fn document() -> ([(HeaderName, &'static str); 2], &'static str) {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// Reads the routes of the service in the source of its router, as `METHOD PATH`.
    fn routes() -> BTreeSet<String> {
        let source = include_str!("mod.rs");
        let (_, router) = source.split_once("pub fn router(").unwrap();
        let (router, _) = router.split_once(".fallback(").unwrap();
        let each = router.split(".route(").skip(1).flat_map(|route| {
            let mut parts = route.splitn(3, '"');
            let (path, handlers) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
            let methods = ["get", "post", "put", "delete", "patch", "any"];
            let named = methods
                .into_iter()
                .filter(|method| handlers.contains(&format!("{method}(")));
            let named = named.map(|method| format!("{method} {path}"));
            named.collect::<Vec<_>>()
        });
        each.collect()
    }

    #[test]
    fn the_document_describes_each_route_and_no_other() {
        let document: Value = serde_json::from_str(super::DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            // What the router has as a model's name with an ending.
            let path = path.strip_suffix(":predict").unwrap_or(path);
            described.extend(
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|method| format!("{method} {path}")),
            );
        }
        let routes = routes();
        assert!(routes.len() > 25, "{routes:?}");
        assert_eq!(described, routes);
    }
}
