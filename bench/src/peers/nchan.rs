//! nginx with nchan, both as Debian packages them, tuned as nchan's manual recommends.
//!
//! Everything nginx writes lies in a folder of its own, which goes with it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::getuid;

use super::Place;
use crate::{Failure, machine};

/// Where packages of Debian, Fedora, Arch and nginx.org put the module.
const MODULES: [&str; 3] = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/etc/nginx/modules"];
const MODULE: &str = "ngx_nchan_module.so";

/// Longest time for nginx to listen.
const START_FOR_MAX: Duration = Duration::from_secs(10);

/// Files that a worker has open besides its connections, with plenty to spare.
const SPARE_FILES: u32 = 64;

/// Makes the names of folders differ.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// nginx, running. Dropping it ends it.
pub struct Nginx {
    child: Child,
    folder: PathBuf,
    place: Place,
}

/// Where the module is; an error says what is missing.
pub fn module() -> Result<PathBuf, Failure> {
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        return Err("nginx is not installed: apt-get install nginx libnginx-mod-nchan".into());
    }
    let found = MODULES.iter().map(|folder| Path::new(folder).join(MODULE)).find(|path| path.exists());
    found.ok_or_else(|| "nginx is here, but its module nchan is not: apt-get install libnginx-mod-nchan".into())
}

impl Nginx {
    /// Writes the configuration, runs nginx and waits until it listens.
    pub fn start(port: u16) -> Result<Self, Failure> {
        let module = module()?;
        // nginx cannot say which port it was given; between this moment and its own bind somebody else may take it.
        let port = if port == 0 { super::listen(0)?.local_addr()?.port() } else { port };
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("bench-nginx-{}-{number}", process::id()));
        fs::create_dir(&folder)?;
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(&module, &folder, port))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&config).arg("-e").arg(folder.join("error.log"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let place = Place { pid: child.id(), ..Place::of(port) };
        let mut nginx = Self { child, folder, place };
        nginx.wait()?;
        Ok(nginx)
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_FOR_MAX;
        while TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.place.port))).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not start:\n{log}").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        super::end(&mut self.child);
        // What is left in a folder of temporary files is no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What nginx is told. Subscribers of a topic at `/sub/TOPIC`, publishers at `/pub/TOPIC`.
fn configuration(module: &Path, folder: &Path, port: u16) -> String {
    let (module, folder) = (module.display(), folder.display());
    let files = machine::file_limit();
    let connections = files.saturating_sub(SPARE_FILES);
    // Workers of root would run as nobody, who may not write into our folder.
    let user = if getuid().is_root() { "user root;\n" } else { "" };
    format!(
        r#"load_module {module};
{user}daemon off;
pid {folder}/nginx.pid;
worker_processes auto;
worker_rlimit_nofile {files};
events {{
  worker_connections {connections};
  multi_accept on;
}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k;
  client_max_body_size 16m;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  tcp_nodelay on;
  nchan_shared_memory_size 512M;
  server {{
    listen {port} reuseport backlog=4096;
    location ~ ^/pub/(.+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 100000;
      nchan_message_timeout 10m;
    }}
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"#
    )
}
