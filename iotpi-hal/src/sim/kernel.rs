//! Simulated devices of the kernel: trees of files with the values of the world, below the drivers of
//! [`kernel`](crate::kernel).

use std::{fs, io, sync::Arc};

use iotpi_core::{
    Action, ActionSpec, Actuator, DeviceError, DeviceErrorKind, Quantity, Sample, async_trait,
    model::reading::SeriesSpec,
};
use serde_json::{Map, Value};

use super::{Fault, FaultSwitch, SimSysfs, Weather, World, sysfs::write_error};
use crate::drivers::BlockingSensor;

/// A device that the simulated kernel has.
#[derive(Debug)]
pub(crate) struct KernelDevice {
    /// The name by which its driver finds it.
    pub name: &'static str,
    /// Its files.
    tree: &'static str,
    /// Its folder in the tree.
    folder: &'static str,
    /// The files with values, and their texts.
    values: fn(&Weather) -> Vec<(&'static str, String)>,
}

/// The devices of the driver `iio`.
pub(crate) static IIO: &[KernelDevice] = &[
    KernelDevice {
        name: "bme280",
        tree: "[sys/devices/i2c-1/1-0076/iio:device0]\n@ sys/bus/iio/devices\nname = bme280",
        folder: "sys/devices/i2c-1/1-0076/iio:device0",
        values: |weather| {
            vec![
                ("in_temp_input", format!("{:.0}", weather.temperature * 1000.0)),
                ("in_humidityrelative_input", format!("{:.0}", weather.humidity * 1000.0)),
                ("in_pressure_input", format!("{:.9}", weather.pressure / 1000.0)),
            ]
        },
    },
    KernelDevice {
        name: "ads1115",
        tree: "[sys/devices/i2c-1/1-0048/iio:device1]\n@ sys/bus/iio/devices\nname = ads1115",
        folder: "sys/devices/i2c-1/1-0048/iio:device1",
        // An analogue soil probe of 1 V, a supply of 3.3 V, a photo cell; 0.125 mV a step.
        values: |weather| {
            let raw = |volt: f64| format!("{:.0}", volt * 8000.0);
            vec![
                ("in_voltage0_raw", raw(1.0 + weather.humidity / 1000.0)),
                ("in_voltage1_raw", raw(3.3)),
                ("in_voltage2_raw", raw((weather.illuminance / 500.0).min(3.0))),
                ("in_voltage3_raw", raw(0.0)),
                ("in_voltage_scale", "0.125000000".to_owned()),
            ]
        },
    },
];

/// The devices of the driver `hwmon`.
pub(crate) static HWMON: &[KernelDevice] = &[
    KernelDevice {
        name: "sht4x",
        tree: "[sys/devices/i2c-1/1-0044/hwmon/hwmon0]\n@ sys/class/hwmon\nname = sht4x\ndevice -> ../..",
        folder: "sys/devices/i2c-1/1-0044/hwmon/hwmon0",
        values: |weather| {
            vec![
                ("temp1_input", format!("{:.0}", weather.temperature * 1000.0)),
                ("humidity1_input", format!("{:.0}", weather.humidity * 1000.0)),
            ]
        },
    },
    KernelDevice {
        name: "ina226",
        tree: "[sys/devices/i2c-1/1-0040/hwmon/hwmon1]\n@ sys/class/hwmon\nname = ina226\ndevice -> ../..",
        folder: "sys/devices/i2c-1/1-0040/hwmon/hwmon1",
        // 12 V, 0.5 A over a shunt of 10 milli-ohm.
        values: |_| {
            [("in0_input", "5"), ("in1_input", "12000"), ("curr1_input", "500"), ("power1_input", "6000000")]
                .map(|(file, text)| (file, text.to_owned()))
                .to_vec()
        },
    },
];

/// The device of the driver `thermal`.
pub(crate) static THERMAL: KernelDevice = KernelDevice {
    name: "cpu-thermal",
    tree: "[sys/class/thermal/thermal_zone0]\ntype = cpu-thermal",
    folder: "sys/class/thermal/thermal_zone0",
    values: |weather| vec![("temp", format!("{:.0}", weather.temperature * 1000.0))],
};

/// The device of the driver `power_supply`.
pub(crate) static POWER_SUPPLY: KernelDevice = KernelDevice {
    name: "battery",
    tree: "[sys/class/power_supply/battery]\ntype = Battery",
    folder: "sys/class/power_supply/battery",
    // It discharges at 250 mA.
    values: |_| {
        [
            ("capacity", "80"),
            ("voltage_now", "3900000"),
            ("current_now", "-250000"),
            ("status", "Discharging"),
        ]
        .map(|(file, text)| (file, text.to_owned()))
        .to_vec()
    },
};

/// The device of the driver `leds`.
pub(crate) static LED: KernelDevice = KernelDevice {
    name: "ACT",
    tree: "[sys/class/leds/ACT]\nmax_brightness = 255\ntrigger = none [mmc0] timer\nbrightness = 0",
    folder: "sys/class/leds/ACT",
    values: |_| vec![("brightness", "0".to_owned())],
};

/// The device of the driver `pwm`.
pub(crate) static PWM: KernelDevice = KernelDevice {
    name: "fe20c000.pwm",
    tree: "[sys/devices/fe20c000.pwm/pwm/pwmchip0]\n@ sys/class/pwm\ndevice -> ../..\nexport =\nnpwm = 2\n\
           [sys/devices/fe20c000.pwm/pwm/pwmchip0/pwm0]\nperiod = 0\nduty_cycle = 0\nenable = 0",
    folder: "sys/devices/fe20c000.pwm/pwm/pwmchip0/pwm0",
    values: |_| vec![("duty_cycle", "0".to_owned())],
};

impl KernelDevice {
    /// Its files, with the values of a world.
    pub(crate) fn files(
        &'static self,
        world: Arc<World>,
        faults: FaultSwitch,
    ) -> Result<KernelFiles, DeviceError> {
        let tree = SimSysfs::new(self.tree).map_err(write_error)?;
        let files = KernelFiles { device: self, tree, world, faults };
        // The driver finds the channels when it is opened.
        files.write(None).map_err(write_error)?;
        Ok(files)
    }
}

/// The files of a simulated device.
#[derive(Debug)]
pub(crate) struct KernelFiles {
    device: &'static KernelDevice,
    pub tree: SimSysfs,
    world: Arc<World>,
    faults: FaultSwitch,
}

impl KernelFiles {
    /// Makes the files what the kernel would show now.
    fn refresh(&self, keeps_values: bool) -> Result<(), DeviceError> {
        let fault = self.faults.next_transfer();
        if fault == Some(Fault::Stuck) || (fault.is_none() && keeps_values && self.is_complete()) {
            return Ok(());
        }
        self.write(fault).map_err(write_error)
    }

    /// Whether no fault has changed the files of an output.
    fn is_complete(&self) -> bool {
        let files = (self.device.values)(&self.world.weather());
        files.iter().all(|(file, _)| self.tree.path(self.device.folder).join(file).is_file())
    }

    fn write(&self, fault: Option<Fault>) -> io::Result<()> {
        let folder = self.tree.path(self.device.folder);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if fault == Some(Fault::Unplugged) {
            return Ok(());
        }
        self.tree.unpack(self.device.tree)?;
        for (file, text) in (self.device.values)(&self.world.weather()) {
            let file = folder.join(file);
            match fault {
                None => fs::write(file, format!("{text}\n"))?,
                Some(Fault::Noise) => fs::write(file, [0; 4].map(|_| self.faults.random_byte()))?,
                // Neither reading nor writing a folder works. The kernel's driver detects the other faults,
                // by a checksum or by waiting in vain, and reports an error in the same way.
                Some(_) => {
                    let _ = fs::remove_file(&file);
                    fs::create_dir(file)?;
                }
            }
        }
        Ok(())
    }
}

/// The production driver on the files of a simulated device.
#[derive(Debug)]
pub(crate) struct SimKernel<D> {
    pub files: KernelFiles,
    pub driver: D,
}

impl<D: BlockingSensor> BlockingSensor for SimKernel<D> {
    fn quantities(&self) -> Vec<Quantity> {
        self.driver.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.driver.series()
    }

    fn sense(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.files.refresh(false)?;
        self.driver.sense()
    }
}

#[async_trait]
impl<A: Actuator> Actuator for SimKernel<A> {
    fn actions(&self) -> Vec<ActionSpec> {
        self.driver.actions()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.files.refresh(true)?;
        self.driver.perform(action).await
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.files.refresh(true)?;
        self.driver.make_safe().await
    }

    fn state(&self) -> Map<String, Value> {
        self.driver.state()
    }
}

/// The device of a name.
pub(crate) fn named(
    devices: &'static [KernelDevice],
    name: &str,
) -> Result<&'static KernelDevice, DeviceError> {
    devices.iter().find(|device| device.name == name).ok_or_else(|| {
        let names: Vec<_> = devices.iter().map(|device| device.name).collect();
        let message = format!("the simulated kernel has no `{name}`: it has {}", names.join(", "));
        DeviceError::new(DeviceErrorKind::NotFound, message)
    })
}
