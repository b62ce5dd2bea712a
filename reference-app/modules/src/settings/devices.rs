//! Checks each device of a settings file on its simulated device, and the series of all of them.

use iotpi_core::{Module, Sensor, model::manifest::Measure};
use iotpi_hal::catalog::Device;

use super::{DeviceSettings, faults::Faults};

/// Reports wrong settings of the drivers, and the conflicts of series and commands.
pub fn check(devices: &[DeviceSettings], faults: &mut Faults) {
    let mut measures = Vec::new();
    let mut takes_commands = false;
    for settings in devices {
        match open(settings, faults) {
            Some(Device::Sensor(sensor)) => {
                let of_device = measures_of(sensor, settings, faults);
                for measure in &of_device {
                    check_series(measure, &measures, settings, faults);
                }
                measures.extend(of_device);
            }
            Some(Device::Actuator(_)) => {
                check_measures_nothing(settings, faults);
                if takes_commands {
                    let driver = &settings.driver;
                    let text = "a module has at most one device that takes commands: make another module of";
                    faults.push(settings.line, format!("{text} `{driver}`"));
                }
                takes_commands = true;
            }
            Some(_) => check_measures_nothing(settings, faults),
            None => {}
        }
    }
}

/// The simulated device, if it has one and its settings are right.
fn open(settings: &DeviceSettings, faults: &mut Faults) -> Option<Device> {
    match settings.entry()?.check(&settings.rest) {
        Ok(device) => device,
        Err(wrong) => {
            for fault in wrong {
                match fault.key {
                    Some(key) => faults.push(settings.line_of(&key), format!("`{key}`: {}", fault.message)),
                    None => faults.push(settings.line, fault.message),
                }
            }
            None
        }
    }
}

fn check_measures_nothing(settings: &DeviceSettings, faults: &mut Faults) {
    for key in ["every_secs", "channel", "calibration", "smoothing", "min_change"] {
        if let (Some(line), false) = (settings.lines.get(key), settings.rest.contains_key(key)) {
            let driver = &settings.driver;
            faults.push(*line, format!("driver `{driver}` measures nothing: it has no `{key}`"));
        }
    }
}

fn measures_of(sensor: Box<dyn Sensor>, settings: &DeviceSettings, faults: &mut Faults) -> Vec<Measure> {
    match settings.module(sensor) {
        Ok(module) => module.manifest().measures,
        Err(wrong) => {
            wrong.into_iter().for_each(|(line, message)| faults.push(line, message));
            Vec::new()
        }
    }
}

fn check_series(measure: &Measure, others: &[Measure], settings: &DeviceSettings, faults: &mut Faults) {
    if let Err(message) = is_new_series(measure, others) {
        faults.push(settings.line_of("channel"), message);
    }
}

/// Whether no other device records the same series.
pub fn is_new_series(measure: &Measure, others: &[Measure]) -> Result<(), String> {
    let is_same = |other: &&Measure| other.kind == measure.kind && other.channel == measure.channel;
    match others.iter().find(is_same).map(|same| (&same.kind, &same.channel)) {
        Some((kind, Some(channel))) => Err(format!("two devices measure {kind} on channel `{channel}`")),
        Some((kind, None)) => Err(format!("two devices measure {kind}: give one of them a `channel`")),
        None => Ok(()),
    }
}
