//! Actuators defined by functions: a device, and an async function for each action.
//!
//! `AsyncFnMut` alone does not say that the futures of a function may move between threads, so the bounds here
//! also name the plain function traits ([`ActionFunction`], [`SafeFunction`]).

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    any_error::AnyError,
    device::{Actuator, DeviceError, DeviceErrorKind},
    model::{command::Action, manifest::ActionSpec},
};

type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, AnyError>> + Send + 'a>>;
type BoxedAction<D> = Box<dyn for<'a> FnMut(&'a mut D, Map<String, Value>) -> BoxFuture<'a, Value> + Send>;
type BoxedState<D> = Box<dyn Fn(&D) -> Map<String, Value> + Send + Sync>;
type BoxedSafe<D> = Box<dyn for<'a> FnMut(&'a mut D) -> BoxFuture<'a, ()> + Send>;

/// An [`Actuator`] defined by a device and functions that borrow it: one for each action, one for the safe
/// state, one for the state.
///
/// With the feature `schemars` the parameters of an action are a type. Its JSON Schema and its documentation
/// become those of the action, and the function receives a value of it:
///
#[cfg_attr(feature = "schemars", doc = "```")]
#[cfg_attr(not(feature = "schemars"), doc = "```ignore")]
/// use std::time::Duration;
/// use iotpi_core::{ActionSpec, Actions, ActuatorModule, AnyError};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use serde_json::json;
///
/// /// Heats until the issuer is absent.
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Heat {
///     /// The power in watts.
///     #[schemars(range(max = 2000))]
///     watts: u32,
/// }
///
/// #[derive(Default)]
/// struct Heater {
///     watts: u32, // your relay
/// }
///
/// impl Heater {
///     async fn heat(&mut self, heat: Heat) -> Result<(), AnyError> {
///         self.watts = heat.watts;
///         Ok(())
///     }
///
///     async fn off(&mut self) -> Result<(), AnyError> {
///         self.watts = 0;
///         Ok(())
///     }
/// }
///
/// # fn example() -> Result<(), AnyError> {
/// let heat = ActionSpec::named("heat")?.hazardous().while_alive(Duration::from_secs(60));
/// let heater = Actions::new(Heater::default())
///     .action(heat, Heater::heat)
///     .make_safe(Heater::off)
///     .state(|heater| json!({"watts": heater.watts}));
/// let module = ActuatorModule::new(heater);
/// # Ok(()) }
/// # example().unwrap();
/// ```
///
/// A function may also be a closure, `async |heater: &mut Heater, heat: Heat| ...`. It must not block its thread
/// for long. Its `Ok` value is the result of the command; an error makes the command `failed`, or `rejected` if it
/// is a [`DeviceError`] of the kind [`Refused`](DeviceErrorKind::Refused). Parameters that do not fit the type are
/// rejected.
pub struct Actions<D> {
    device: D,
    actions: Vec<(ActionSpec, BoxedAction<D>)>,
    make_safe: Option<BoxedSafe<D>>,
    state: Option<BoxedState<D>>,
}

impl<D> fmt::Debug for Actions<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.actions.iter().map(|(spec, _)| &spec.name)).finish()
    }
}

impl<D: Send + Sync + 'static> Actions<D> {
    /// Creates an actuator without actions. The functions borrow `device`; it may be `()`.
    #[must_use]
    pub fn new(device: D) -> Self {
        Self { device, actions: Vec::new(), make_safe: None, state: None }
    }

    /// Adds an action whose parameters have the type `P`. `spec` is its name, or an [`ActionSpec::named`] with
    /// its safety properties. Its schema, and its description if it has none, are those of `P`. An action of the
    /// same name is replaced.
    ///
    /// The schema must be that of an object and must not refer to itself; a hub refuses a manifest with another
    /// one. Unknown parameters are refused with `#[serde(deny_unknown_fields)]`, and ignored without it.
    ///
    /// # Panics
    /// If the name is not an id: `[a-z0-9][a-z0-9_-]{0,63}`.
    #[cfg(feature = "schemars")]
    #[must_use]
    #[track_caller]
    pub fn action<P, R, F>(self, spec: impl TryInto<ActionSpec, Error: fmt::Display>, function: F) -> Self
    where
        P: DeserializeOwned + schemars::JsonSchema + Send + 'static,
        R: Serialize + Send + 'static,
        F: AsyncFnMut(&mut D, P) -> Result<R, AnyError> + for<'a> ActionFunction<'a, D, P, R> + 'static,
    {
        let spec = match spec.try_into() {
            Ok(spec) => spec,
            Err(error) => panic!("{error}"),
        };
        self.action_with_schema(super::params_schema::with_schema_of::<P>(spec), function)
    }

    /// Adds an action with the schema of `spec`, which values of `P` fit. An action of the same name is replaced.
    ///
    /// ```
    /// use iotpi_core::{ActionSpec, Actions, AnyError};
    /// use serde_json::{Map, Value, json};
    ///
    /// # fn example() -> Result<(), AnyError> {
    /// let ring = ActionSpec::new("ring".parse()?, "Rings once", json!({"type": "object"}));
    /// let bell = Actions::new(()).action_with_schema(ring, async |_: &mut (), _: Map<String, Value>| Ok(()));
    /// # Ok(()) }
    /// # example().unwrap();
    /// ```
    #[must_use]
    pub fn action_with_schema<P, R, F>(mut self, spec: ActionSpec, mut function: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: AsyncFnMut(&mut D, P) -> Result<R, AnyError> + for<'a> ActionFunction<'a, D, P, R> + 'static,
    {
        let function: BoxedAction<D> = Box::new(move |device, params| {
            let params = match serde_json::from_value(Value::Object(params)) {
                Ok(params) => params,
                Err(error) => return Box::pin(std::future::ready(Err(refused(error.to_string()).into()))),
            };
            let done = call_action(&mut function, device, params);
            Box::pin(async move { Ok(serde_json::to_value(done.await?)?) })
        });
        self.actions.retain(|(other, _)| other.name != spec.name);
        self.actions.push((spec, function));
        self
    }

    /// Sets the function that puts the device into its safe state, see [`Actuator::make_safe`]. Without one
    /// nothing is done, and an action with a `while_alive` limit is an error.
    #[must_use]
    pub fn make_safe<F>(mut self, mut function: F) -> Self
    where
        F: AsyncFnMut(&mut D) -> Result<(), AnyError> + for<'a> SafeFunction<'a, D> + 'static,
    {
        self.make_safe = Some(Box::new(move |device| Box::pin(call_safe(&mut function, device))));
        self
    }

    /// Sets the function that returns the state of the device for the dashboard, an object; any other value is
    /// ignored.
    #[must_use]
    pub fn state<S: Serialize>(mut self, function: impl Fn(&D) -> S + Send + Sync + 'static) -> Self {
        self.state = Some(Box::new(move |device| match serde_json::to_value(function(device)) {
            Ok(Value::Object(state)) => state,
            _ => Map::new(),
        }));
        self
    }
}

#[async_trait]
impl<D: Send + Sync + 'static> Actuator for Actions<D> {
    fn actions(&self) -> Vec<ActionSpec> {
        self.actions.iter().map(|(spec, _)| spec.clone()).collect()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let Some((_, function)) = self.actions.iter_mut().find(|(spec, _)| spec.name == action.name) else {
            return Err(refused(format!("there is no action `{}`", action.name)));
        };
        Ok(function(&mut self.device, action.params.clone()).await?)
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        let limited = self.actions.iter().find(|(spec, _)| spec.alive_limit().is_some());
        match (&mut self.make_safe, limited) {
            (Some(function), _) => Ok(function(&mut self.device).await?),
            (None, None) => Ok(()),
            (None, Some((spec, _))) => {
                let text =
                    format!("`{}` has a `while_alive` limit, which needs a `make_safe` function", spec.name);
                Err(DeviceError::new(DeviceErrorKind::Other, text))
            }
        }
    }

    fn state(&self) -> Map<String, Value> {
        self.state.as_ref().map_or_else(Map::new, |state| state(&self.device))
    }
}

fn refused(text: impl Into<String>) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Refused, text)
}

/// No parameters: an empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// A function of an action: every async function or closure with the parameters `&mut D` and `P` whose futures are
/// `Send`. A closure does not change variables that it captured; its state belongs into the device.
pub trait ActionFunction<'a, D: 'a, P, R>: FnMut(&'a mut D, P) -> Self::Future + Send {
    /// The future of one call.
    type Future: Future<Output = Result<R, AnyError>> + Send + 'a;
}

impl<'a, D: 'a, P, R, F, T> ActionFunction<'a, D, P, R> for F
where
    F: FnMut(&'a mut D, P) -> T + Send,
    T: Future<Output = Result<R, AnyError>> + Send + 'a,
{
    type Future = T;
}

/// The function that makes a device safe: every async function or closure with the parameter `&mut D` whose
/// futures are `Send`. A closure does not change variables that it captured.
pub trait SafeFunction<'a, D: 'a>: FnMut(&'a mut D) -> Self::Future + Send {
    /// The future of one call.
    type Future: Future<Output = Result<(), AnyError>> + Send + 'a;
}

impl<'a, D: 'a, F, T> SafeFunction<'a, D> for F
where
    F: FnMut(&'a mut D) -> T + Send,
    T: Future<Output = Result<(), AnyError>> + Send + 'a,
{
    type Future = T;
}

// In a function of their own, because a direct call would be ambiguous with `AsyncFnMut`.
fn call_action<'a, D, P, R, F>(function: &mut F, device: &'a mut D, params: P) -> F::Future
where
    F: ActionFunction<'a, D, P, R>,
{
    function(device, params)
}

fn call_safe<'a, D, F: SafeFunction<'a, D>>(function: &mut F, device: &'a mut D) -> F::Future {
    function(device)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Step {
        by: f64,
    }

    #[derive(Default)]
    struct Motor {
        position: f64,
    }

    impl Motor {
        async fn step(&mut self, step: Step) -> Result<f64, AnyError> {
            tokio::task::yield_now().await;
            if step.by > 10.0 {
                return Err(refused("too far").into());
            }
            self.position += step.by;
            Ok(self.position)
        }

        async fn home(&mut self) -> Result<(), AnyError> {
            self.position = 0.0;
            Ok(())
        }
    }

    fn spec(name: &str) -> ActionSpec {
        ActionSpec::named(name).unwrap()
    }

    fn action(name: &str, params: Value) -> Action {
        Action { name: name.parse().unwrap(), params: params.as_object().unwrap().clone() }
    }

    fn motor() -> Actions<Motor> {
        Actions::new(Motor::default())
            .action_with_schema(spec("step"), Motor::step)
            .action_with_schema(spec("double"), async |motor: &mut Motor, _: NoParams| {
                motor.position *= 2.0;
                Ok(())
            })
            .make_safe(Motor::home)
            .state(|motor| json!({"position": motor.position}))
    }

    #[tokio::test]
    async fn functions_borrow_the_device_and_return_results() {
        let mut motor = motor();

        let stepped = motor.perform(&action("step", json!({"by": 2.5}))).await.unwrap();
        let doubled = motor.perform(&action("double", json!({}))).await.unwrap();

        assert_eq!((stepped, doubled), (json!(2.5), Value::Null));
        assert_eq!(Value::Object(Actuator::state(&motor)), json!({"position": 5.0}));
        Actuator::make_safe(&mut motor).await.unwrap();
        assert_eq!(Value::Object(Actuator::state(&motor)), json!({"position": 0.0}));
    }

    #[tokio::test]
    async fn parameters_that_do_not_fit_and_refusals_reject_the_command() {
        let mut motor = motor();

        for refused in [
            action("step", json!({})),
            action("step", json!({"by": 11.0})),
            action("double", json!({"by": 1})),
            action("jump", json!({})),
        ] {
            let error = motor.perform(&refused).await.unwrap_err();

            assert_eq!(error.kind(), DeviceErrorKind::Refused, "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_action_with_a_limit_needs_a_safe_state() {
        let limited = spec("double").while_alive(std::time::Duration::from_secs(5));
        let mut motor = Actions::new(Motor::default())
            .action_with_schema(limited, async |_: &mut Motor, _: NoParams| Ok(()));

        let error = Actuator::make_safe(&mut motor).await.unwrap_err();

        assert!(error.to_string().contains("`double`"), "{error}");
    }

    #[test]
    fn a_later_action_of_the_same_name_replaces_the_earlier_one() {
        let motor = motor().action_with_schema(spec("step"), Motor::step);

        let names: Vec<_> = motor.actions().into_iter().map(|spec| spec.name.to_string()).collect();
        assert_eq!(names, ["double", "step"]);
    }
}
