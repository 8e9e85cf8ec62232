// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.5.17;

// A token with the habits of USDT that matter to a scanner: transfer and transferFrom return nothing, a fee switch
// makes two Transfer logs of one transfer (the fee first), a zero-value transferFrom by anybody is accepted, the owner can
// pause it and blacklist addresses (a blacklisted recipient still receives) and destroy what lies there without a Transfer.
contract TetherLike {
    string public constant symbol = "USDT";
    string public constant name = "Tether-like test token";
    uint8 public constant decimals = 6;
    address public owner;
    uint256 public feeBasisPoints;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Params(uint256 feeBasisPoints, uint256 maxFee);
    event Pause();
    event Unpause();
    event AddedBlackList(address user);
    event RemovedBlackList(address user);
    event DestroyedBlackFunds(address user, uint256 balance);

    bool public paused;
    mapping(address => bool) public isBlackListed;

    constructor() public {
        owner = msg.sender;
    }

    // Like USDT's issue(): tokens appear without a Transfer log.
    function mint(uint256 value) external {
        require(msg.sender == owner, "only the owner");
        balanceOf[owner] += value;
    }

    function setFee(uint256 basisPoints) external {
        require(msg.sender == owner && basisPoints < 20, "only the owner, below 20");
        feeBasisPoints = basisPoints;
        emit Params(basisPoints, 0);
    }

    function setPaused(bool stop) external {
        require(msg.sender == owner, "only the owner");
        paused = stop;
        if (stop) {
            emit Pause();
        } else {
            emit Unpause();
        }
    }

    function addBlackList(address user) external {
        require(msg.sender == owner, "only the owner");
        isBlackListed[user] = true;
        emit AddedBlackList(user);
    }

    function destroyBlackFunds(address user) external {
        require(msg.sender == owner && isBlackListed[user], "only the owner, only the blacklisted");
        uint256 balance = balanceOf[user];
        balanceOf[user] = 0;
        emit DestroyedBlackFunds(user, balance);
    }

    function transfer(address to, uint256 value) external {
        move(msg.sender, to, value);
    }

    function transferFrom(address from, address to, uint256 value) external {
        require(allowance[from][msg.sender] >= value, "allowance");
        allowance[from][msg.sender] -= value;
        move(from, to, value);
    }

    function approve(address spender, uint256 value) external {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
    }

    function move(address from, address to, uint256 value) private {
        require(!paused && !isBlackListed[from], "paused or blacklisted");
        require(balanceOf[from] >= value, "balance");
        uint256 fee = value * feeBasisPoints / 10000;
        balanceOf[from] -= value;
        if (fee > 0) {
            balanceOf[owner] += fee;
            emit Transfer(from, owner, fee);
        }
        balanceOf[to] += value - fee;
        emit Transfer(from, to, value - fee);
    }
}

// Pays one recipient twice in one transaction, with a log of its own between the two transfers.
contract Batch {
    event Between(uint256 number);

    function payTwice(TetherLike token, address to, uint256 first, uint256 second) external {
        token.transfer(to, first);
        emit Between(first);
        token.transfer(to, second);
    }
}
