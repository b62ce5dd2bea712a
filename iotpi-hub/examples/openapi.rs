//! Prints the OpenAPI document: `cargo run -p iotpi-hub --example openapi > openapi.json`.
#![allow(missing_docs)]

fn main() {
    print!("{}", iotpi_hub::openapi());
}
