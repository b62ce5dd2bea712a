//! The error of `main` and of closures: any error, printed with its causes and with advice.

use std::{
    error::Error,
    fmt, io,
    num::{ParseFloatError, ParseIntError},
    str::Utf8Error,
};

use crate::{
    device::{DeviceError, DeviceErrorKind},
    model::error::ErrorKind,
    uplink::UplinkError,
};

/// Any error, for `main` and for the closures of `measure`, `camera` and `Actions`.
///
/// `?` converts every [`std::error::Error`] into it. `Display` is the error alone; `Debug`, which the standard
/// library prints when `main` returns an error, is the error with its causes in one sentence, and a line of
/// advice if there is any:
///
/// ```
/// use iotpi_core::AnyError;
///
/// fn parse() -> Result<f64, AnyError> {
///     Ok("warm".parse::<f64>()?)
/// }
///
/// assert_eq!(format!("{:?}", parse().unwrap_err()), "invalid float literal");
/// ```
///
/// A [`DeviceError`] keeps its kind on the way through a closure. This type does not implement
/// [`std::error::Error`] itself, because it could then not be created from every error.
pub struct AnyError(Box<dyn Error + Send + Sync>);

impl AnyError {
    /// An error with this message.
    ///
    /// ```
    /// # use iotpi_core::AnyError;
    /// let error = AnyError::new("the gauge is not connected");
    /// assert_eq!(error.to_string(), "the gauge is not connected");
    /// ```
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }

    /// An error from a value that implements only [`Debug`](fmt::Debug), such as the errors of embedded-hal.
    ///
    /// ```
    /// # use iotpi_core::AnyError;
    /// #[derive(Debug)]
    /// struct NoAcknowledge;
    ///
    /// fn read() -> Result<u8, NoAcknowledge> {
    ///     Err(NoAcknowledge)
    /// }
    ///
    /// fn measure() -> Result<f64, AnyError> {
    ///     Ok(f64::from(read().map_err(AnyError::from_debug)?))
    /// }
    /// # assert_eq!(measure().unwrap_err().to_string(), "NoAcknowledge");
    /// ```
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // So that it fits `map_err`.
    pub fn from_debug(error: impl fmt::Debug) -> Self {
        Self::new(format!("{error:?}"))
    }

    /// The underlying error.
    #[must_use]
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for AnyError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl From<DeviceErrorKind> for AnyError {
    fn from(kind: DeviceErrorKind) -> Self {
        DeviceError::from(kind).into()
    }
}

impl From<AnyError> for DeviceError {
    /// A device error is returned as it is, and the kind of an I/O or parse error is that of `DeviceError::from`.
    /// Any other error has the kind `Other`.
    fn from(AnyError(error): AnyError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        let error = match error.downcast::<io::Error>() {
            Ok(error) => return (*error).into(),
            Err(error) => error,
        };
        let is_parse_error =
            error.is::<ParseFloatError>() || error.is::<ParseIntError>() || error.is::<Utf8Error>();
        let kind = if is_parse_error { DeviceErrorKind::InvalidData } else { DeviceErrorKind::Other };
        Self::new(kind, error_chain(&*error))
    }
}

impl From<AnyError> for Box<dyn Error + Send + Sync> {
    fn from(error: AnyError) -> Self {
        error.0
    }
}

impl From<AnyError> for Box<dyn Error> {
    fn from(error: AnyError) -> Self {
        error.0
    }
}

impl fmt::Display for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for AnyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(&*self.0))?;
        match advice(&*self.0) {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

/// The error and its causes, separated by colons. A cause that repeats the text above it is left out.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The advice for an error, by the first of its causes that has one.
fn advice(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        #[cfg(feature = "client")]
        if let Some(crate::module::runner::RunError::Refused { module_id, source }) = error.downcast_ref()
            && matches!(source.kind(), ErrorKind::Unauthenticated | ErrorKind::PermissionDenied)
        {
            return Some(format!(
                "A module registers with a token of its own. `iotpi-hub token add --role module --module {module_id}`, \
                 run on the hub's machine, prints one; set IOTPI_TOKEN to it."
            ));
        }
        if let Some(error) = error.downcast_ref::<UplinkError>() {
            return advice_on_uplink(error).map(str::to_owned);
        }
        next = error.source();
    }
    None
}

fn advice_on_uplink(error: &UplinkError) -> Option<&'static str> {
    match error {
        UplinkError::Problem(problem) if problem.kind == ErrorKind::Unauthenticated => Some(
            "`iotpi-hub token add --role operator NAME`, run on the hub's machine, prints a token; set IOTPI_TOKEN to it.",
        ),
        UplinkError::Unreachable { .. } | UplinkError::Timeout { .. } => {
            Some("Check that the hub is running, and that IOTPI_URL is its address.")
        }
        UplinkError::NotAHub { .. } => Some("Check that IOTPI_URL is the address of a hub."),
        UplinkError::Problem(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Problem;

    fn problem(kind: ErrorKind) -> UplinkError {
        UplinkError::Problem(Box::new(Problem {
            type_: String::new(),
            kind,
            title: String::new(),
            status: 400,
            detail: "because".to_owned(),
            pointer: None,
            choices: None,
            retry_after_secs: None,
            request_id: None,
        }))
    }

    #[test]
    fn a_device_error_keeps_its_kind() {
        fn read() -> Result<f64, AnyError> {
            Err(DeviceError::new(DeviceErrorKind::Bus, "no acknowledge"))?
        }

        let error = DeviceError::from(read().unwrap_err());

        assert_eq!((error.kind(), error.to_string().as_str()), (DeviceErrorKind::Bus, "bus: no acknowledge"));
    }

    #[test]
    fn the_kind_of_an_io_or_parse_error_is_kept() {
        let kind = |error: AnyError| DeviceError::from(error).kind();

        assert_eq!(kind("x".parse::<f64>().unwrap_err().into()), DeviceErrorKind::InvalidData);
        assert_eq!(kind(io::Error::from(io::ErrorKind::TimedOut).into()), DeviceErrorKind::Timeout);
    }

    #[test]
    fn another_error_becomes_a_device_error_with_all_causes() {
        let cause = std::io::Error::other("no such device");
        let error = UplinkError::Unreachable { url: "http://hub".to_owned(), source: Box::new(cause) };

        let error = DeviceError::from(AnyError::from(error));

        assert_eq!(error.kind(), DeviceErrorKind::Other);
        assert_eq!(error.to_string(), "device: the hub at http://hub cannot be reached: no such device");
    }

    #[test]
    fn debug_is_one_sentence_with_advice() {
        let cause = std::io::Error::other("Connection refused");
        let error = UplinkError::Unreachable { url: "http://hub".to_owned(), source: Box::new(cause) };

        let text = format!("{:?}", AnyError::from(error));

        let (sentence, advice) = text.split_once('\n').unwrap();
        assert_eq!(sentence, "the hub at http://hub cannot be reached: Connection refused");
        assert!(advice.contains("IOTPI_URL"), "{advice}");
        assert_eq!(format!("{:?}", AnyError::from(problem(ErrorKind::NotFound))), "not_found: because");
    }

    #[cfg(feature = "client")]
    #[test]
    fn a_refused_module_is_advised_to_use_a_token_of_its_own() {
        let module_id = crate::ModuleId::new("attic").unwrap();
        let error =
            crate::module::RunError::Refused { module_id, source: problem(ErrorKind::PermissionDenied) };

        let text = format!("{:?}", AnyError::from(error));

        assert!(text.starts_with("the hub refused to register module `attic`: permission_denied"), "{text}");
        assert!(text.contains("iotpi-hub token add --role module --module attic"), "{text}");
        assert!(text.contains("IOTPI_TOKEN"), "{text}");
    }
}
