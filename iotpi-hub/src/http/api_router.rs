//! The table of operations: each entry routes an operation and describes it.
//!
//! The descriptions are made when they are asked for: a hub that starts would only throw them away, and they take as much memory
//! as the rest of it.

use std::collections::BTreeSet;

use axum::{Router, handler::Handler, routing::MethodRouter};
use utoipa::openapi::OpenApi;
use utoipa_axum::{
    PathItemExt as _,
    router::{OpenApiRouter, UtoipaMethodRouter},
};

use super::compression;
use crate::Hub;

/// Makes the description of some operations; their handlers are not used.
type Describe = fn() -> UtoipaMethodRouter<Hub>;

/// Operations of one path, made by [`routes!`].
pub(super) struct Routes {
    pub(super) path: String,
    pub(super) methods: MethodRouter<Hub>,
    pub(super) describe: Describe,
}

impl Routes {
    pub(super) fn new(describe: Describe) -> Self {
        Self { path: String::new(), methods: MethodRouter::new(), describe }
    }

    /// Adds the operation that `P` describes.
    pub(super) fn on<P: utoipa::Path, T: 'static>(mut self, handler: impl Handler<T, Hub>) -> Self {
        self.path = P::path();
        for method in P::methods() {
            self.methods = self.methods.on(method.to_method_filter(), handler.clone());
        }
        self
    }
}

/// [`Routes`] of handlers in this module with `#[utoipa::path]`, all of one path.
macro_rules! routes {
    ($($handler:ident),+) => {
        utoipa_axum::paste! {
            $crate::http::api_router::Routes::new(|| utoipa_axum::routes!($($handler),+))
                $(.on::<[<__path_ $handler>], _>($handler))+
        }
    };
}
pub(super) use routes;

/// Operations, routed and described.
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

    /// Compresses the answers of these operations.
    pub(super) fn compressed(mut self) -> Self {
        self.router = self.router.layer(compression::layer());
        self
    }

    /// The paths, in order; a segment in braces is a parameter.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    pub(super) fn into_router(self) -> Router<Hub> {
        self.router
    }

    /// The description of all operations, below that of the whole.
    pub(super) fn into_openapi(self, head: OpenApi) -> OpenApi {
        let described = OpenApiRouter::with_openapi(head);
        self.describe.into_iter().fold(described, |all, describe| all.routes(describe())).into_openapi()
    }
}
