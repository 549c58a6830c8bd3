# SPDX-FileCopyrightText: 2026 udp-security contributors
# SPDX-License-Identifier: MIT

# The enumerations of the real cmdlets. As there, they are no booleans: False is 2, and $true is refused.
enum FirewallEnabled { True = 1; False = 2 }
enum FirewallDirection { Inbound = 1; Outbound = 2 }
enum FirewallAction { NotConfigured = 0; Allow = 2; Block = 4 }
enum FirewallEdgeTraversal { Block = 0; Allow = 1; DeferToUser = 2; DeferToApp = 3 }
enum FirewallPrimaryStatus { Unknown = 0; OK = 1; Degraded = 2; Error = 3 }
enum FirewallStoreType { None = 0; Local = 1; GroupPolicy = 2 }
enum FirewallGpoBoolean { False = 0; True = 1; NotConfigured = 2 }
[Flags()] enum FirewallProfile { Any = 0; Domain = 1; Private = 2; Public = 4 }
