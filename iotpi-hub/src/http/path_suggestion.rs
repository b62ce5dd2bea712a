//! Suggestions for paths that do not exist.

use std::sync::LazyLock;

/// The segments of all API paths. A segment in braces is a parameter.
static PATHS: LazyLock<Vec<Vec<String>>> =
    LazyLock::new(|| super::api().paths().map(|path| segments(path).map(str::to_owned).collect()).collect());

/// Finds an API path that differs only by a leading `/api`, by slashes, or by the case of its fixed segments.
pub(super) fn suggest(path: &str) -> Option<String> {
    let bare: Vec<_> = segments(path).skip_while(|segment| segment.eq_ignore_ascii_case("api")).collect();
    let with_api: Vec<_> = std::iter::once("api").chain(bare.iter().copied()).collect();
    let found = [with_api, bare].into_iter().find_map(|segments| {
        let known = PATHS.iter().find(|known| matches(known, &segments))?;
        let words = known.iter().zip(&segments);
        Some(
            words
                .map(|(known, word)| format!("/{}", if is_parameter(known) { *word } else { &known[..] }))
                .collect::<String>(),
        )
    });
    found.filter(|found: &String| found != path)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

fn matches(known: &[String], segments: &[&str]) -> bool {
    known.len() == segments.len()
        && known
            .iter()
            .zip(segments)
            .all(|(known, word)| is_parameter(known) || known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_its_prefix_or_with_too_many_slashes_is_recognized() {
        for (path, expected) in [
            ("/sensors/temperature", Some("/api/sensors/temperature")),
            ("/sensors", Some("/api/sensors")),
            ("/modules/led/control", Some("/api/modules/led/control")),
            ("/camera/frame", Some("/api/camera/frame")),
            ("/api/api/sensors", Some("/api/sensors")),
            ("/api/sensors/temperature/", Some("/api/sensors/temperature")),
            ("//api//sensors", Some("/api/sensors")),
            ("/API/Camera/Frame", Some("/api/camera/frame")),
            ("/api/health", Some("/health")),
            ("/api/sensors", None),
            ("/somewhere", None),
            ("/api/sensors/a/b", None),
            ("/", None),
        ] {
            assert_eq!(suggest(path).as_deref(), expected, "{path}");
        }
    }
}
