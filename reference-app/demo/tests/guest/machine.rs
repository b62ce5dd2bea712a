//! A guest in QEMU that runs the shell commands which arrive on its serial line, one per line, and answers with
//! the output of the command and `guest: status N`. `scripts/guest.sh` builds it.

use std::{path::Path, process::Stdio, time::Duration};

use iotpi_core::{Clock, SystemClock};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Split},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

/// The longest wait. A guest without hardware virtualisation is slow: it boots in ten seconds and delivers
/// two frames a second.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// The address of the host as the guest sees it.
pub const HOST_ADDRESS: &str = "10.0.2.2";

/// The second serial port: the device tree gives the input of the first one to Bluetooth.
const PI_OPTIONS: &str = "console=ttyS1,115200 iomem=relaxed quiet loglevel=1 panic=-1";

/// A machine that QEMU emulates.
#[derive(Debug, Clone, Copy)]
pub enum Machine {
    /// A PC with a virtio network card.
    Pc,
    /// A Raspberry Pi 3B with a network card on USB and an SD card, `card` in its folder. `iomem=relaxed` lets rppal map the registers of the pins
    /// while a kernel driver has them.
    /// It has no clock of its own: `date` is the time at the start.
    RaspberryPi3,
}

impl Machine {
    fn command(self, image: &Path) -> Command {
        match self {
            Self::Pc => {
                let mut qemu = Command::new("qemu-system-x86_64");
                qemu.args(["-accel", "tcg", "-m", "256", "-nic", "user,model=virtio-net-pci"]).args([
                    "-serial",
                    "stdio",
                    "-append",
                    "console=ttyS0 quiet loglevel=1 panic=-1",
                ]);
                qemu
            }
            Self::RaspberryPi3 => {
                let mut qemu = Command::new("qemu-system-aarch64");
                qemu.args(["-M", "raspi3b", "-m", "1G", "-netdev", "user,id=network"])
                    .args([
                        "-device",
                        "usb-net,netdev=network",
                        "-serial",
                        "null",
                        "-serial",
                        "stdio",
                        "-dtb",
                    ])
                    .arg(image.join("board.dtb"))
                    .arg("-drive")
                    .arg(format!("if=sd,format=raw,file={}", image.join("card").display()))
                    .arg("-append")
                    .arg(format!("{PI_OPTIONS} date={}", SystemClock::new().now().as_secs_f64().round()));
                qemu
            }
        }
    }
}

/// A running guest. Dropping it kills it.
pub struct Guest {
    child: Child,
    stdin: ChildStdin,
    lines: Split<BufReader<ChildStdout>>,
}

impl Guest {
    /// Starts the guest of this folder and waits until it runs commands.
    pub async fn boot(machine: Machine, image: &Path) -> Self {
        let mut child = machine
            .command(image)
            .args(["-no-reboot", "-display", "none", "-monitor", "none", "-kernel"])
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initramfs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("QEMU cannot be started");
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
        let mut guest = Self { child, stdin, lines };
        guest.read_until("guest: ready").await;
        guest
    }

    /// Reads up to a line with this marker; returns the output before it, and the rest of the line.
    async fn read_until(&mut self, marker: &str) -> (String, String) {
        let reading = async {
            let mut before = String::new();
            loop {
                let line = self.lines.next_segment().await.unwrap().expect("the guest ended");
                // A serial port that is set up sends bytes that are not text.
                let line = String::from_utf8_lossy(&line);
                if let Some((_, rest)) = line.split_once(marker) {
                    return (before, rest.trim().to_owned());
                }
                before.push_str(line.trim_end());
                before.push('\n');
            }
        };
        timeout(DEADLINE, reading).await.expect("the guest does not answer")
    }

    /// Runs a shell command; returns its output and whether it succeeded.
    pub async fn try_run(&mut self, command: &str) -> (String, bool) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        let (output, status) = self.read_until("guest: status").await;
        (output, status == "0")
    }

    /// Runs a shell command that must succeed.
    pub async fn run(&mut self, command: &str) -> String {
        let (output, succeeded) = self.try_run(command).await;
        assert!(succeeded, "{command}: {output}");
        output
    }

    /// Writes a file with this text, which has neither backslashes nor single quotes.
    pub async fn write(&mut self, path: &str, text: &str) {
        let text = text.replace('\n', "\\n");
        self.run(&format!("printf '%b' '{text}' >{path}")).await;
    }

    /// Writes the settings of a module into the guest and starts it in the background; `$module` is its
    /// process.
    pub async fn start_module(&mut self, settings: &str, hub: &str) {
        self.write("/module.toml", settings).await;
        self.run(&format!("iotpi-module run /module.toml --hub {hub} >>/tmp/log 2>&1 & module=$!")).await;
    }

    /// Stops the module and the guest.
    pub async fn shut_down(mut self) {
        self.run("kill $module; wait $module").await;
        self.stdin.write_all(b"poweroff -f\n").await.unwrap();
        let status =
            timeout(DEADLINE, self.child.wait()).await.expect("the guest does not power off").unwrap();
        assert!(status.success());
    }

    /// Cuts the power of the guest.
    pub async fn cut_power(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Polls until there is a result.
pub async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(result) = poll().await {
                return result;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(DEADLINE, polling).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}
