//! A simulated input device: the kernel's files of a button, and its event file as a named pipe.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use iotpi_core::{DeviceError, Quantity, Sample, Sensor, async_trait, model::reading::SeriesSpec};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Fault, FaultSwitch, SimSysfs, World, sysfs::write_error};
use crate::kernel::{DeviceFilter, input::Input};

const EVENT_FILE: &str = "dev/input/event0";
const CLASS_FOLDER: &str = "sys/class/input/event0";
const TREE: &str = "[sys/devices/platform/button@11/input/input0]\nname = button@11\n\
                    [sys/devices/platform/button@11/input/input0/capabilities]\nkey = 10000000\n\
                    [sys/devices/platform/button@11/input/input0/event0]\n@ sys/class/input\ndevice -> ..\n[dev/input]";
const KEY_ENTER: u16 = 28;
/// The interval at which a simulated button looks at the world.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The production driver on a button that is pressed while the contacts of the world are active.
#[derive(Debug)]
pub(crate) struct SimInput {
    tree: SimSysfs,
    world: Arc<World>,
    faults: FaultSwitch,
    /// The end of the pipe that the kernel would write to; `None` while the device is unplugged.
    kernel_end: Option<File>,
    /// The state of the last event.
    is_pressed: Option<bool>,
    driver: Input,
}

impl SimInput {
    pub(crate) fn new(world: Arc<World>, faults: FaultSwitch, codes: &[u16]) -> Result<Self, DeviceError> {
        let tree = SimSysfs::new(TREE).map_err(write_error)?;
        let driver = Input::open(tree.sysfs(), DeviceFilter::named("button"), codes)?;
        Ok(Self { tree, world, faults, kernel_end: None, is_pressed: None, driver })
    }

    /// Does what the kernel would do now.
    fn refresh(&mut self) -> io::Result<()> {
        let fault = self.faults.next_transfer();
        if fault == Some(Fault::Unplugged) {
            return self.unplug();
        }
        if self.kernel_end.is_none() {
            self.plug()?;
        }
        let pressed = self.world.weather().contact;
        match fault {
            Some(Fault::Stuck) => {}
            Some(Fault::Noise) => {
                let value = self.faults.random_byte() & 1 == 1;
                self.report(value)?;
                self.is_pressed = None;
            }
            _ if self.is_pressed != Some(pressed) => {
                self.report(pressed)?;
                self.is_pressed = Some(pressed);
            }
            _ => {}
        }
        Ok(())
    }

    fn plug(&mut self) -> io::Result<()> {
        self.tree.unpack(TREE)?;
        let path = self.tree.path(EVENT_FILE);
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        self.kernel_end = Some(File::options().read(true).write(true).open(path)?);
        Ok(())
    }

    fn unplug(&mut self) -> io::Result<()> {
        self.is_pressed = None;
        if self.kernel_end.take().is_some() {
            fs::remove_file(self.tree.path(EVENT_FILE))?;
        }
        match fs::remove_file(self.tree.path(CLASS_FOLDER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes a key event and `SYN_REPORT`: `struct input_event` has a time, the type, the code and the
    /// value.
    fn report(&mut self, is_pressed: bool) -> io::Result<()> {
        let event = |kind: u16, code: u16, value: i32| {
            let time = [0; 2 * size_of::<usize>()];
            [&time[..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat()
        };
        let bytes = [event(1, KEY_ENTER, is_pressed.into()), event(0, 0, 0)].concat();
        self.kernel_end.as_mut().map_or(Ok(()), |end| end.write_all(&bytes))
    }
}

#[async_trait]
impl Sensor for SimInput {
    fn quantities(&self) -> Vec<Quantity> {
        self.driver.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.driver.series()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        self.refresh().map_err(write_error)?;
        self.driver.read().await
    }

    async fn changed(&mut self) {
        while self.is_pressed == Some(self.world.weather().contact) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
