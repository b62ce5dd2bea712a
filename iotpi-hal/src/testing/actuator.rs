//! The contract of actuators.

use iotpi_core::{Action, ActionName, Actuator, DeviceError, DeviceErrorKind};
use serde_json::{Map, Value, json};

use crate::sim::{Fault, FaultSwitch};

/// The number of random parameter sets for each action.
const RANDOM_PARAMS: u64 = 300;

/// Checks an actuator against the contract of actuators:
///
/// 1. Its actions have different names, and it refuses an unknown action.
/// 2. After [`make_safe`](Actuator::make_safe) it is in its safe state, also after a second call and after a
///    cancelled action.
/// 3. While its pin or bus fails, an action and `make_safe` return an error. After that both work again.
/// 4. It runs or refuses random parameters. It does not panic.
///
/// `faults` is the switch of the simulated device below the driver. `action` with `params` takes the device
/// out of its safe state, and `is_safe` observes the simulated device.
///
/// ```
/// use iotpi_hal::{drivers::led::Led, sim::SimPin, testing::check_actuator};
/// use serde_json::json;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let mut lamp = Led::new(pin.clone());
/// check_actuator(&mut lamp, pin.faults(), "set", json!({"on": true}), || pin.duty() == 0).await;
/// # });
/// ```
///
/// # Panics
/// The actuator breaks a rule; the message says which one.
pub async fn check_actuator(
    actuator: &mut (impl Actuator + ?Sized),
    faults: &FaultSwitch,
    action: &str,
    params: Value,
    is_safe: impl Fn() -> bool,
) {
    let actions = actuator.actions();
    let names: Vec<_> = actions.iter().map(|action| action.name.as_str()).collect();
    assert!(names.contains(&action), "the actuator has no action `{action}`: its actions are {names:?}");
    for (index, name) in names.iter().enumerate() {
        assert!(!names[..index].contains(name), "the action `{name}` is listed twice");
    }
    let kind = |result: Result<Value, DeviceError>| result.err().map(|error| error.kind());
    let unknown = kind(actuator.perform(&action_of("no-such-action", json!({}))).await);
    assert_eq!(unknown, Some(DeviceErrorKind::Refused), "an unknown action must be refused");

    let command = action_of(action, params);
    let mut check = Check { actuator, command, is_safe };
    check.leave_safe_state("without a fault").await;
    check.make_safe("without a fault").await;
    check.make_safe("when it is safe already").await;

    for fault in [Fault::Nack, Fault::BusLow] {
        faults.begin(fault);
        let performed = check.actuator.perform(&check.command).await;
        let made_safe = check.actuator.make_safe().await;
        faults.end();
        assert!(performed.is_err(), "with fault {fault:?} the action returned {performed:?}");
        assert!(made_safe.is_err(), "with fault {fault:?} make_safe succeeded");
        check.leave_safe_state(&format!("after fault {fault:?}")).await;
        check.make_safe(&format!("after fault {fault:?}")).await;
    }

    super::cancel(check.actuator.perform(&check.command)).await;
    check.make_safe("after a cancelled action").await;

    for spec in &actions {
        let properties = spec.params.get("properties").and_then(Value::as_object);
        let known: Vec<_> = properties.into_iter().flat_map(Map::keys).cloned().collect();
        for seed in 0..RANDOM_PARAMS {
            let params = random_params(&known, faults, seed);
            let result = check.actuator.perform(&action_of(spec.name.as_str(), params.clone())).await;
            let failed = result.as_ref().err().filter(|error| error.kind() != DeviceErrorKind::Refused);
            assert!(failed.is_none(), "`{}` failed with the parameters {params}: {failed:?}", spec.name);
        }
        check.make_safe("after random parameters").await;
    }
}

struct Check<'a, A: ?Sized, F> {
    actuator: &'a mut A,
    command: Action,
    is_safe: F,
}

impl<A: Actuator + ?Sized, F: Fn() -> bool> Check<'_, A, F> {
    async fn leave_safe_state(&mut self, when: &str) {
        let performed = self.actuator.perform(&self.command).await;
        assert!(performed.is_ok(), "{when}, `{}` returned {performed:?}", self.command.name);
        assert!(!(self.is_safe)(), "{when}, `{}` did not take it out of its safe state", self.command.name);
    }

    async fn make_safe(&mut self, when: &str) {
        let result = self.actuator.make_safe().await;
        assert!(result.is_ok(), "{when}, make_safe returned {result:?}");
        assert!((self.is_safe)(), "{when}, make_safe did not put it into its safe state");
    }
}

fn action_of(name: &str, params: Value) -> Action {
    let name = ActionName::new(name).unwrap_or_else(|error| panic!("`{name}`: {error}"));
    let Value::Object(params) = params else { panic!("the parameters {params} are not an object") };
    Action::new(name, params)
}

/// Some of the known parameters, sometimes an unknown one, with values of all types.
fn random_params(known: &[String], random: &FaultSwitch, seed: u64) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x".repeat(10_000)),
        json!([]),
        json!({}),
    ];
    let mut params = Map::new();
    for name in known {
        if random.random_byte() > 64 {
            params.insert(name.clone(), values[usize::from(random.random_byte()) % values.len()].clone());
        }
    }
    if seed % 10 == 9 {
        params.insert("no-such-parameter".to_owned(), json!(1));
    }
    Value::Object(params)
}

#[cfg(test)]
mod tests {
    use embedded_hal::digital::OutputPin;
    use iotpi_core::{ActionSpec, async_trait};

    use super::*;
    use crate::sim::SimPin;

    /// A relay with a flaw: the text of the message that the check must have, or none.
    struct Relay(SimPin, &'static str);

    #[async_trait]
    impl Actuator for Relay {
        fn actions(&self) -> Vec<ActionSpec> {
            let params = json!({"type": "object", "properties": {"on": {"type": "boolean"}}});
            vec![ActionSpec::new(ActionName::new("set").unwrap(), "Switches", params)]
        }

        async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
            if action.name.as_str() != "set" {
                let accepts = self.1.contains("unknown action");
                return if accepts { Ok(json!({})) } else { Err(DeviceErrorKind::Refused.into()) };
            }
            let on = action.params.get("on").and_then(Value::as_bool);
            let on = match on {
                None if self.1.contains("index out of") => panic!("index out of range"),
                None => return Err(DeviceErrorKind::Refused.into()),
                Some(on) => on,
            };
            let set = if on { self.0.set_high() } else { self.0.set_low() };
            if !self.1.contains("the action returned Ok") {
                set.map_err(|e| DeviceError::pin(&e))?;
            }
            Ok(json!({}))
        }

        async fn make_safe(&mut self) -> Result<(), DeviceError> {
            if self.1.contains("safe state") {
                return Ok(());
            }
            self.0.set_low().map_err(|e| DeviceError::pin(&e))
        }
    }

    async fn check(flaw: &'static str) {
        let pin = SimPin::new();
        let mut relay = Relay(pin.clone(), flaw);
        check_actuator(&mut relay, pin.faults(), "set", json!({"on": true}), || pin.duty() == 0).await;
    }

    #[tokio::test]
    async fn a_good_actuator_passes() {
        check("").await;
    }

    #[tokio::test]
    async fn the_message_for_a_broken_actuator_names_the_rule() {
        for flaw in [
            "an unknown action must be refused",
            "with fault Nack the action returned Ok",
            "make_safe did not put it into its safe state",
            "index out of range",
        ] {
            let panic = tokio::spawn(check(flaw)).await.unwrap_err().into_panic();
            let message = panic.downcast_ref::<String>().cloned();
            let message =
                message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap();

            assert!(message.contains(flaw), "{message}");
        }
    }
}
