module images/rclone

go 1.26.0

require github.com/rclone/rclone v1.68.2
