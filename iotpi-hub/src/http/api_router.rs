//! A router of operations that also describes them for OpenAPI.
//!
//! The descriptions are generated on request. Building them at start would take as much memory as the rest of
//! the hub.

use std::collections::BTreeSet;

use axum::{Router, handler::Handler, routing::MethodRouter};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    PathItemExt as _,
    router::{OpenApiRouter, UtoipaMethodRouter},
};

use super::compression;
use crate::Hub;

/// Builds the OpenAPI description of operations. Their handlers are not used.
type Describe = fn() -> UtoipaMethodRouter<Hub>;

/// The operations of one path, built by [`routes!`].
pub(super) struct Routes {
    pub(super) path: String,
    pub(super) methods: MethodRouter<Hub>,
    pub(super) describe: Describe,
}

impl Routes {
    pub(super) fn new(describe: Describe) -> Self {
        Self { path: String::new(), methods: MethodRouter::new(), describe }
    }

    /// Adds the handler of the operation that `P` describes.
    pub(super) fn on<P: utoipa::Path, T: 'static>(mut self, handler: impl Handler<T, Hub>) -> Self {
        self.path = P::path();
        for method in P::methods() {
            self.methods = self.methods.on(method.to_method_filter(), handler.clone());
        }
        self
    }
}

/// Builds [`Routes`] from handlers with `#[utoipa::path]` in the current module, all with the same path.
macro_rules! routes {
    ($($handler:ident),+) => {
        utoipa_axum::paste! {
            $crate::http::api_router::Routes::new(|| utoipa_axum::routes!($($handler),+))
                $(.on::<[<__path_ $handler>], _>($handler))+
        }
    };
}
pub(super) use routes;

/// A router and the OpenAPI description of its operations.
#[derive(Default)]
pub(super) struct ApiRouter {
    router: Router<Hub>,
    paths: BTreeSet<String>,
    describe: Vec<Describe>,
}

impl ApiRouter {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn routes(mut self, routes: Routes) -> Self {
        self.router = self.router.route(&routes.path, routes.methods);
        self.paths.insert(routes.path);
        self.describe.push(routes.describe);
        self
    }

    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.paths.extend(other.paths);
        self.describe.extend(other.describe);
        self
    }

    /// Compresses the responses of these operations.
    pub(super) fn compressed(mut self) -> Self {
        self.router = self.router.layer(compression::layer());
        self
    }

    /// The paths in order. A segment in braces is a parameter.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    pub(super) fn into_router(self) -> Router<Hub> {
        self.router
    }

    /// Adds the descriptions of all operations to the document `head`.
    pub(super) fn into_openapi(self, head: OpenApi) -> OpenApi {
        let described = OpenApiRouter::with_openapi(head);
        self.describe.into_iter().fold(described, |all, describe| all.routes(describe())).into_openapi()
    }
}
